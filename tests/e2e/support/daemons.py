"""Servers of Debian's packages, each with a directory of its own, on a Unix socket or a loopback port: never the system's services."""
import getpass
import grp
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import textwrap

from .backends import Server
from .clients import free_port, tcp
from .waiting import until

POSTGRESQL = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))


class Daemon(Server):
    """A server that leaves sockets in its directory."""

    def __init__(self, directory, *arguments, **options):
        super().__init__(*arguments, **options)
        self.directory = directory

    def close(self):
        super().close()
        shutil.rmtree(self.directory, ignore_errors=True)


def other_user(name):
    """For servers that refuse to run as root: the package's user, else who we are."""
    return name if os.getuid() == 0 else getpass.getuser()


def own(directory, user):
    """DIRECTORY belongs to USER, and the way to it is open."""
    directory.mkdir(parents=True, exist_ok=True)
    for parent in (directory, *directory.parents):
        if parent.stat().st_uid == os.getuid() and parent != pathlib.Path("/tmp") and str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    if os.getuid() == 0:
        shutil.chown(directory, user)


def wait_greeting(port):
    """A server that has to be there: it speaks first, or takes a connection."""

    def answers():
        try:
            tcp(port).close()
            return True
        except OSError:
            return False

    until(answers, f"a server on port {port}")


def postgresql(parts):
    """(backend, environment for its own clients): a cluster with the role "me", whom it trusts."""
    data, user = parts.directory / "pg", other_user("postgres")
    own(data, user)
    cluster = data / "data"
    subprocess.run([POSTGRESQL[-1] / "initdb", "-D", cluster, "-U", "me", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"],
                   user=user if os.getuid() == 0 else None, check=True, capture_output=True, cwd="/")
    server = parts.server(POSTGRESQL[-1] / "postgres", "-D", cluster, "-k", data, "-c", "listen_addresses=", "-c", "fsync=off",
                          **({"user": user} if os.getuid() == 0 else {}), cwd="/")
    path = data / ".s.PGSQL.5432"
    server.wait_socket(path)
    return f"unix:{path}"


def slapd(parts):
    """A directory with one entry, dc=example,dc=org, that anybody may read and cn=admin (secret) may write."""
    where = parts.directory / "ldap"
    (where / "db").mkdir(parents=True)
    (where / "slapd.conf").write_text(textwrap.dedent(f"""\
        include /etc/ldap/schema/core.schema
        pidfile {where}/slapd.pid
        modulepath /usr/lib/ldap
        moduleload back_mdb
        database mdb
        suffix "dc=example,dc=org"
        rootdn "cn=admin,dc=example,dc=org"
        rootpw secret
        directory {where}/db
        """))
    entry = "dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: behind tls-off\n"
    subprocess.run(["slapadd", "-f", where / "slapd.conf"], input=entry.encode(), check=True, capture_output=True)
    path = where / "ldapi"
    server = parts.server("/usr/sbin/slapd", "-f", where / "slapd.conf", "-h", "ldapi://" + str(path).replace("/", "%2F"), "-d", "0")
    server.wait_socket(path)
    return f"unix:{path}"


def dovecot(parts, protocol):
    """Dovecot for one protocol (imap, pop3, sieve, lmtp); the user is "me" with the password "secret"."""
    where = parts.directory / "dovecot"
    user, login = other_user("dovecot"), other_user("dovenull")
    mail = getpass.getuser() if os.getuid() else "nobody"
    ids = pwd.getpwnam(mail)
    own(where / "mail", mail)
    port = free_port()
    later = re.match(r"2\.([4-9]|\d\d)", subprocess.run(["/usr/sbin/dovecot", "--version"], capture_output=True, text=True, check=True).stdout)
    name = {"imap": "imap", "pop3": "pop3", "sieve": "sieve"}.get(protocol)
    login_service = {"imap": "imap-login", "pop3": "pop3-login", "sieve": "managesieve-login"}.get(protocol)
    listener = "" if protocol == "lmtp" else textwrap.dedent(f"""\
        service {login_service} {{
          chroot =
          inet_listener {name} {{
            {"listen" if later else "address"} = 127.0.0.1
            port = {port}
          }}
          {"" if protocol == "sieve" else f"inet_listener {name}s {{"}
          {"" if protocol == "sieve" else "port = 0"}
          {"" if protocol == "sieve" else "}"}
        }}
        """)
    socket = where / "lmtp.sock"
    versions = "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n" if later else ""
    (where / "dovecot.conf").write_text(versions + textwrap.dedent(f"""\
        protocols = {protocol}
        base_dir = {where}/run
        state_dir = {where}/state
        log_path = {where}/log
        default_internal_user = {user}
        default_internal_group = {grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name}
        default_login_user = {login}
        ssl = no
        """) + textwrap.dedent(f"""\
        auth_allow_cleartext = yes
        mail_driver = maildir
        mail_path = {where}/mail
        passdb static {{
          password = secret
        }}
        userdb static {{
          fields {{
            uid = {ids.pw_uid}
            gid = {ids.pw_gid}
            home = {where}/mail
          }}
        }}
        """ if later else f"""\
        disable_plaintext_auth = no
        mail_location = maildir:{where}/mail
        passdb {{
          driver = static
          args = password=secret
        }}
        userdb {{
          driver = static
          args = uid={ids.pw_uid} gid={ids.pw_gid} home={where}/mail
        }}
        """) + listener + textwrap.dedent(f"""\
        service lmtp {{
          unix_listener {socket} {{
            mode = 0666
          }}
        }}
        """ if protocol == "lmtp" else ""))
    server = parts.add(Daemon(where, "/usr/sbin/dovecot", "-F", "-c", where / "dovecot.conf"))
    if protocol == "lmtp":
        server.wait_socket(socket)
        return f"unix:{socket}"
    wait_greeting(port)
    return f"tcp:127.0.0.1:{port}"


def postfix(parts):
    """A submission server that throws all mail away, and its log."""
    where = parts.directory / "postfix"
    for name in ("conf", "queue", "data"):
        (where / name).mkdir(parents=True)
    own(where / "data", "postfix")
    port = free_port()
    (where / "conf" / "main.cf").write_text(textwrap.dedent(f"""\
        compatibility_level = 3.6
        queue_directory = {where}/queue
        data_directory = {where}/data
        command_directory = /usr/sbin
        daemon_directory = /usr/lib/postfix/sbin
        myhostname = mail.example.org
        mydestination =
        inet_interfaces = 127.0.0.1
        inet_protocols = ipv4
        smtpd_tls_security_level = none
        mynetworks = 127.0.0.0/8
        smtpd_relay_restrictions = permit_mynetworks, reject
        smtpd_recipient_restrictions = permit_mynetworks, reject
        default_transport = discard
        alias_maps =
        max_idle = 1s
        maillog_file = {where}/log
        maillog_file_prefixes = {where}
        """))
    (where / "conf" / "master.cf").write_text(textwrap.dedent(f"""\
        127.0.0.1:{port} inet n - n - - smtpd
        pickup unix n - n 60 1 pickup
        cleanup unix n - n - 0 cleanup
        qmgr unix n - n 300 1 qmgr
        rewrite unix - - n - - trivial-rewrite
        proxymap unix - - n - - proxymap
        bounce unix - - n - 0 bounce
        defer unix - - n - 0 bounce
        trace unix - - n - 0 bounce
        discard unix - - n - - discard
        anvil unix - - n - 1 anvil
        postlog unix-dgram n - n - 1 postlogd
        """))
    subprocess.run(["postfix", "-c", where / "conf", "check"], check=True, capture_output=True)
    parts.add(Daemon(where, "/usr/lib/postfix/sbin/master", "-c", where / "conf", "-d", env={**os.environ, "MAIL_LOGTAG": "postfix"}))
    wait_greeting(port)
    return f"tcp:127.0.0.1:{port}", where / "log"


def inn(parts):
    """INN's server for readers, with one group that has no articles."""
    where = parts.directory / "news"
    user = other_user("news")
    for name in ("db", "etc", "log", "run", "tmp", "spool/articles", "spool/overview", "spool/incoming"):
        (where / name).mkdir(parents=True)
    paths = {"db": "db", "etc": "etc", "log": "log", "run": "run", "tmp": "tmp", "spool": "spool", "articles": "spool/articles",
             "overview": "spool/overview", "incoming": "spool/incoming"}
    (where / "inn.conf").write_text(textwrap.dedent("""\
        domain: example.org
        mta: "/bin/true"
        pathhost: news.example.org
        pathnews: /usr/lib/news
        hismethod: hisv6
        enableoverview: true
        ovmethod: tradindexed
        readerswhenstopped: true
        nnrpdloadlimit: 0
        """) + "".join(f"path{name}: {where}/{path}\n" for name, path in paths.items()))
    (where / "etc" / "storage.conf").write_text("method tradspool {\n  newsgroups: *\n  class: 0\n}\n")
    (where / "etc" / "readers.conf").write_text('auth all { hosts: "*" default: "<reader>" }\n'
                                                'access all { users: "<reader>" newsgroups: "*" access: "R" }\n')
    (where / "db" / "active").write_text("tls.off 0000000000 0000000001 y\n")
    (where / "db" / "newsgroups").write_text("tls.off\tbehind tls-off\n")
    for name in ("active.times", "history"):
        (where / "db" / name).touch()
    own(where, user)
    as_user = {"user": user, "group": user} if os.getuid() == 0 else {}
    if as_user:
        subprocess.run(["chown", "-R", f"{user}:{user}", where], check=True)
    environment = {**os.environ, "INNCONF": str(where / "inn.conf")}
    for tool in (["makedbz", "-i", "-o"], ["tdx-util", "-c", "-n", "tls.off", "-p", where / "spool" / "overview"]):
        subprocess.run([f"/usr/lib/news/bin/{tool[0]}", *tool[1:]], env=environment, cwd=where, capture_output=True, check=True, **as_user)
    port = free_port()
    parts.add(Daemon(where, "/usr/lib/news/bin/nnrpd", "-D", "-f", "-b", "127.0.0.1", "-p", str(port), env=environment, cwd=where, **as_user))
    wait_greeting(port)
    return f"tcp:127.0.0.1:{port}"
