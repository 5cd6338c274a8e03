#!/bin/bash
# A machine like that of the manual, in namespaces of its own: the package's configuration, its user, an application at port
# 8080 and at /run/app.sock, and the commands of a system that these namespaces lack. Runs the blocks of one page in turn.
#   server_in_namespaces.sh TLS_OFF SOURCE DIRECTORY running|bare BLOCK...
# running: tls-off serves already, with the admin address that the manual names.
set -euo pipefail
umask 022
binary=$1 source=$2 work=$3 begin=$4
shift 4
mkdir -p "$work"/{bin,etc,local,home}
cp "$binary" "$work/local/tls-off"
cp "$source/debian/tls-off.toml" "$work/etc/"
{ grep -v '^tls-off:' /etc/passwd; echo 'tls-off:x:65000:65000::/nonexistent:/usr/sbin/nologin'; } >"$work/passwd"
{ grep -v '^tls-off:' /etc/group; echo 'tls-off:x:65000:'; } >"$work/group"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=example.org -addext subjectAltName=DNS:example.org \
    -keyout "$work/etc/key.pem" -out "$work/etc/fullchain.pem" 2>/dev/null

printf '#!/bin/sh\nexec "$@"\n' >"$work/bin/sudo"
cat >"$work/bin/systemctl" <<'UNIT'
#!/bin/bash
# What systemd does with our unit, as far as the manual asks for it.
unit=$(cat "UNIT_FILE")
of() { sed -n "s|^$1=@sbindir@/||p" <<<"$unit" | sed 's/@config@/tls-off/'; }
case " $* " in
*" enable "* | *" start "*)
    mkfifo "/run/ready.$$"
    $(of ExecStart) --ready-fd 3 3>"/run/ready.$$" >>/run/journal 2>&1 &
    read -rt 30 _ <"/run/ready.$$" ;; # Type=notify
*" reload "*) $(of ExecReload) ;;
*" status "*) exec tls-off status ;;
*) echo "systemctl: not expected: $*" >&2; exit 1 ;;
esac
UNIT
sed -i "s|UNIT_FILE|$source/contrib/systemd/tls-off.service.in|" "$work/bin/systemctl"
printf '#!/bin/sh\nexec tail -n 20 /run/journal\n' >"$work/bin/journalctl"
chmod 755 "$work"/bin/* "$work/local/tls-off"

mount -t tmpfs run /run
mkdir -p /run/tls-off /etc/tls-off /var/lib/tls-off
mount --bind "$work/etc" /etc/tls-off
mount -t tmpfs state /var/lib/tls-off
mount --bind "$work/passwd" /etc/passwd
mount --bind "$work/group" /etc/group
mount --bind "$work/local" /usr/local/bin
mkdir -p /etc/hitch
mount -t tmpfs hitch /etc/hitch
(umask 077 && cat "$work"/etc/*.pem >/etc/hitch/both.pem)
cat >/etc/hitch/hitch.conf <<HITCH
frontend = "[*]:443"
backend = "[127.0.0.1]:8080"
pem-file = "/etc/hitch/both.pem"
HITCH
ip link set lo up
/usr/bin/python3 "$source/tests/e2e/support/two_doors.py" &
export PATH=$work/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=$work/home LC_ALL=C.UTF-8
for _ in $(seq 100); do [ -S /run/app.sock ] && break; sleep 0.1; done
cd "$HOME"
if [ "$begin" = running ]; then
    sed -i 's|^#\[admin\]|[admin]|; s|^#listen = |listen = |; s|^#certificates.*|certificates = [{ cert = "fullchain.pem", key = "key.pem" }]|' /etc/tls-off/tls-off.toml
    systemctl start tls-off
fi

# One shell for the whole page: what a block starts or enters holds for the next one.
for block in "$@"; do
    echo "== $block" >&2
    # shellcheck disable=SC1090
    . "$block"
done
# A page may leave the proxy running.
! tls-off status >/dev/null 2>&1 || tls-off stop
