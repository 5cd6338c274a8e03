"use strict";(()=>{var e=(()=>{try{return localStorage.getItem("tls-off.theme")}catch{return null}})();(e==="light"||e==="dark")&&(document.documentElement.dataset.theme=e);})();
