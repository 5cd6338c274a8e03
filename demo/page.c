/* See page.h. Every text from outside goes through escape(). */
#include "page.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static const char style[] =
    ":root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#17202b;--dim:#65707f;--line:#e3e7ec;--mark:#0b7a5b;"
    "--mark-bg:#e2f4ee;--field:#fbfcfd;--warn:#9a5b00;--warn-bg:#fdf0dc}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#0f1317;--card:#171d23;--ink:#e7ecf1;--dim:#93a0ae;--line:#28313a;"
    "--mark:#4fd1a5;--mark-bg:#12302a;--field:#11161b;--warn:#f0b35b;--warn-bg:#33260f}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 system-ui,sans-serif}\n"
    "main{max-width:60rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}\n"
    "h1{font-size:1.9rem;line-height:1.2;margin:0 0 .4rem;letter-spacing:-.02em}\n"
    "h2{font-size:1rem;margin:0 0 .8rem}\n"
    "p{margin:0 0 1rem;color:var(--dim)}\n"
    ".chips{display:flex;flex-wrap:wrap;gap:.5rem;margin:1.2rem 0 1.8rem}\n"
    ".chip{background:var(--mark-bg);color:var(--mark);border-radius:99px;padding:.2rem .8rem;font-size:.88rem;font-weight:600}\n"
    ".chip.warn{background:var(--warn-bg);color:var(--warn)}\n"
    ".grid{display:grid;gap:1.1rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));align-items:start}\n"
    "section{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:1.2rem 1.3rem;min-width:0}\n"
    "section.wide{grid-column:1/-1}\n"
    "dl{display:grid;grid-template-columns:minmax(6.5rem,auto) 1fr;gap:.45rem 1.2rem;margin:0;font-size:.92rem}\n"
    "dt{color:var(--dim)}\n"
    "dd{margin:0;overflow-wrap:anywhere;font-family:ui-monospace,SFMono-Regular,Menlo,monospace;font-size:.86rem}\n"
    "dd.none{color:var(--dim);font-family:inherit}\n"
    "textarea,pre{width:100%;background:var(--field);color:inherit;border:1px solid var(--line);border-radius:10px;"
    "padding:.7rem .8rem;font:.86rem/1.5 ui-monospace,SFMono-Regular,Menlo,monospace}\n"
    "textarea{min-height:5.5rem;resize:vertical}\n"
    "pre{margin:.8rem 0 0;max-height:18rem;overflow:auto;white-space:pre-wrap;overflow-wrap:anywhere}\n"
    ".row{display:flex;flex-wrap:wrap;gap:.6rem;align-items:center;margin-top:.7rem}\n"
    "button{font:inherit;font-weight:600;border:1px solid var(--line);border-radius:10px;padding:.5rem 1.1rem;cursor:pointer;"
    "background:var(--card);color:inherit}\n"
    "button.main{background:var(--mark);border-color:var(--mark);color:var(--card)}\n"
    "button:focus-visible,textarea:focus-visible,a:focus-visible{outline:2px solid var(--mark);outline-offset:2px}\n"
    "a{color:var(--mark)}\n"
    "#note{color:var(--dim);font-size:.9rem}\n";

static const char form[] =
    "<section class=\"wide\"><h2>Try an echo</h2>\n"
    "<form method=\"post\" action=\"/echo\" enctype=\"text/plain\" id=\"echo\">\n"
    "<textarea name=\"body\" aria-label=\"What to send\">Hello through TLS, and back.</textarea>\n"
    "<div class=\"row\"><button class=\"main\">Send</button><button type=\"button\" id=\"bulk\">Send 8 MiB and compare</button>"
    "<span id=\"note\" role=\"status\"></span></div></form>\n"
    "<pre id=\"answer\" hidden></pre></section>\n";

static const char script[] =
    "const $=id=>document.getElementById(id),note=t=>$('note').textContent=t;\n"
    "async function echo(body){const t=performance.now();\n"
    "const r=await fetch('/echo',{method:'POST',body,headers:{'content-type':'application/octet-stream'}});\n"
    "if(!r.ok)throw new Error('status '+r.status);\n"
    "return{bytes:new Uint8Array(await r.arrayBuffer()),ms:performance.now()-t}}\n"
    "async function run(what){note('\\u2026');try{await what()}catch(e){note('failed: '+e.message)}}\n"
    "$('echo').addEventListener('submit',e=>{e.preventDefault();run(async()=>{\n"
    "const a=await echo(new TextEncoder().encode(e.target.body.value));\n"
    "$('answer').hidden=false;$('answer').textContent=new TextDecoder().decode(a.bytes);\n"
    "note(a.bytes.length+' bytes in '+a.ms.toFixed(1)+' ms')})});\n"
    "$('bulk').addEventListener('click',()=>run(async()=>{const out=new Uint8Array(8<<20);\n"
    "for(let i=0;i<out.length;i+=65536)crypto.getRandomValues(out.subarray(i,i+65536));\n"
    "const a=await echo(out);const same=a.bytes.length===out.length&&a.bytes.every((b,i)=>b===out[i]);\n"
    "note((same?'identical':'DIFFERENT')+', both ways in '+a.ms.toFixed(0)+' ms')}));\n";

static void escape(FILE *f, const char *s) {
    for (; *s; s++) {
        switch (*s) {
        case '<':
            (void)fputs("&lt;", f);
            break;
        case '>':
            (void)fputs("&gt;", f);
            break;
        case '&':
            (void)fputs("&amp;", f);
            break;
        case '"':
            (void)fputs("&quot;", f);
            break;
        case '\'':
            (void)fputs("&#39;", f);
            break;
        default:
            (void)fputc(*s, f);
        }
    }
}

static const char *text_of_key(const json_t *o, const char *key) {
    return json_string_value(json_object_get(o, key));
}

static void row(FILE *f, const char *name, const char *value) {
    (void)fputs("<dt>", f);
    escape(f, name);
    (void)fputs(value ? "</dt><dd>" : "</dt><dd class=\"none\">", f);
    escape(f, value ? value : "not sent");
    (void)fputs("</dd>\n", f);
}

static void chip(FILE *f, const char *value) {
    if (!value)
        return;
    (void)fputs("<span class=\"chip\">", f);
    escape(f, value);
    (void)fputs("</span>\n", f);
}

static void write_chips(FILE *f, const json_t *proxy) {
    (void)fputs("<div class=\"chips\">\n", f);
    if (json_is_object(proxy)) {
        chip(f, text_of_key(proxy, "tls_version"));
        chip(f, text_of_key(proxy, "cipher"));
        chip(f, text_of_key(proxy, "alpn"));
        chip(f, text_of_key(proxy, "authority"));
    } else {
        (void)fputs("<span class=\"chip warn\">no PROXY header</span>\n", f);
    }
    (void)fputs("</div>\n", f);
}

static void write_proxy(FILE *f, const json_t *proxy) {
    (void)fputs("<section><h2>The connection</h2>\n", f);
    if (!json_is_object(proxy)) {
        (void)fputs(
            "<p>This connection began without a PROXY header, so nothing is known about the client. In the configuration "
            "of tls-off: <code>send = \"v2\"</code>.</p></section>\n",
            f);
        return;
    }
    (void)fputs("<dl>\n", f);
    row(f, "Source", text_of_key(proxy, "source"));
    row(f, "Destination", text_of_key(proxy, "destination"));
    row(f, "TLS version", text_of_key(proxy, "tls_version"));
    row(f, "Cipher", text_of_key(proxy, "cipher"));
    row(f, "ALPN", text_of_key(proxy, "alpn"));
    row(f, "Server name", text_of_key(proxy, "authority"));
    row(f, "Unique id", text_of_key(proxy, "unique_id"));
    row(f, "CRC-32C", text_of_key(proxy, "crc32c"));
    (void)fprintf(f, "<dt>PROXY header</dt><dd>version %d%s</dd></dl></section>\n",
                  (int)json_integer_value(json_object_get(proxy, "version")),
                  json_is_true(json_object_get(proxy, "local")) ? ", local" : "");
}

static void write_request(FILE *f, const json_t *conn_info) {
    const char *name;
    json_t *value, *headers = json_object_get(conn_info, "headers");
    (void)fputs("<section><h2>The request</h2><dl>\n", f);
    row(f, "Method", text_of_key(conn_info, "method"));
    row(f, "Path", text_of_key(conn_info, "path"));
    row(f, "Protocol", text_of_key(conn_info, "http"));
    json_object_foreach(headers, name, value) row(f, name, json_string_value(value));
    (void)fputs("</dl></section>\n", f);
}

static void write_document(FILE *f, const json_t *conn_info, const char *nonce) {
    const json_t *proxy = json_object_get(conn_info, "proxy");
    (void)fprintf(f,
                  "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                  "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                  "<title>tls-off demo</title><link rel=\"icon\" href=\"data:,\">\n<style nonce=\"%s\">\n%s</style></head>\n"
                  "<body><main>\n<h1>It came through.</h1>\n"
                  "<p>tls-off took the TLS off this connection; the application behind it saw plain HTTP on a Unix socket, and "
                  "this is all it received. The same as JSON: <a href=\"/info\">/info</a>.</p>\n",
                  nonce, style);
    write_chips(f, proxy);
    (void)fputs("<div class=\"grid\">\n", f);
    write_proxy(f, proxy);
    write_request(f, conn_info);
    (void)fprintf(f, "%s</div></main>\n<script nonce=\"%s\">\n%s</script></body></html>\n", form, nonce, script);
}

char *page_write(const json_t *conn_info, const char *nonce, size_t *ret_len) {
    char *page = NULL;
    FILE *f = open_memstream(&page, ret_len);
    if (!f)
        return NULL;
    write_document(f, conn_info, nonce);
    bool bad = ferror(f);
    if (fclose(f) != 0 || bad) {
        free(page);
        return NULL;
    }
    return page;
}
