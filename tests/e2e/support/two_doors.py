"""A web server at port 8080 and at /run/app.sock."""
import http.server
import os
import socketserver
import threading


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"hello\n")

    def log_message(self, *_):
        pass

    def address_string(self):
        return "client"


class AtSocket(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


if __name__ == "__main__":
    tcp = http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Hello)
    threading.Thread(target=tcp.serve_forever, daemon=True).start()
    at_socket = AtSocket("/run/app.sock", Hello)
    os.chmod("/run/app.sock", 0o666)
    at_socket.serve_forever()
