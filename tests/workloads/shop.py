"""A shop to break: `web` asks `api` for each order, and somebody keeps on ordering.

    shop.py run [FOLDER]                      until Ctrl-C
    shop.py break|slow|hang|repair [FOLDER]   from another terminal

`api` then answers 503, takes 4 s without one error, or answers nothing at all. FOLDER is where both
meet, /tmp/shop unless given. Ports 8080 (web) and 8081 (api) of 127.0.0.1, or as SHOP_PORT says and
the one after it. Only the standard library is needed.
"""

import http.client
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WEB = int(os.environ.get("SHOP_PORT", "8080"))
API = WEB + 1
ORDERS = os.environ.get("SHOP_ORDERS", "/orders/")
MOODS = {"break": "break", "slow": "slow", "hang": "hang", "repair": ""}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self, status):
        body = b"an order\n" if status == 200 else b"no order\n"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Api(Handler):
    mood_file = ""

    def do_GET(self):
        try:
            with open(self.mood_file) as file:
                mood = file.read().strip()
        except FileNotFoundError:
            mood = ""
        if mood == "hang":
            time.sleep(3600)
        if mood == "slow":
            time.sleep(4)
        self.answer(503 if mood == "break" else 200)


class Web(Handler):
    def do_GET(self):
        try:
            api = http.client.HTTPConnection("127.0.0.1", API, timeout=30)
            api.request("GET", "/stock/17")
            response = api.getresponse()
            response.read()
            api.close()
            self.answer(200 if response.status == 200 else 502)
        except OSError:
            self.answer(504)


def serve(handler, port):
    ThreadingHTTPServer(("127.0.0.1", port), handler).serve_forever()


def order(number):
    """One customer after the other; one who waits keeps nobody else from ordering."""
    try:
        web = http.client.HTTPConnection("127.0.0.1", WEB, timeout=60)
        web.request("GET", f"{ORDERS}{number}")
        web.getresponse().read()
        web.close()
    except OSError:
        pass


def customers():
    number = 0
    while True:
        number += 1
        threading.Thread(target=order, args=(number,), daemon=True).start()
        time.sleep(0.05)


def child(name, task, *arguments):
    """A process with a name of its own, as a service has it."""
    pid = os.fork()
    if pid == 0:
        environment = {**os.environ, "OTEL_SERVICE_NAME": name}
        program = [sys.executable, os.path.abspath(__file__), task, *arguments]
        os.execve(sys.executable, program, environment)
    return pid


def run(folder):
    os.makedirs(folder, exist_ok=True)
    set_mood("", folder)
    children = [
        child("api", "api", folder),
        child("web", "web", folder),
        child("customers", "customers", folder),
    ]
    print(f"web http://127.0.0.1:{WEB}/orders/1, api http://127.0.0.1:{API}/stock/17", flush=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit())
    try:
        while True:
            time.sleep(3600)
    finally:
        for pid in children:
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)


def set_mood(mood, folder):
    path = os.path.join(folder, "mood")
    with open(path + ".new", "w") as file:
        file.write(mood)
    os.replace(path + ".new", path)


def main():
    task = sys.argv[1] if len(sys.argv) > 1 else ""
    folder = sys.argv[2] if len(sys.argv) > 2 else "/tmp/shop"
    if task == "run":
        run(folder)
    elif task == "api":
        Api.mood_file = os.path.join(folder, "mood")
        serve(Api, API)
    elif task == "web":
        time.sleep(0.2)
        serve(Web, WEB)
    elif task == "customers":
        time.sleep(0.5)
        customers()
    elif task in MOODS:
        set_mood(MOODS[task], folder)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
