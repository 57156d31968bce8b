"""A gRPC server (grpcio, C core) whose methods do what the request says, without generated code.

    grpc_server.py [--port 0]

Methods of `shop.Cart`: `Get` (unary), `List` (server streaming), `Put` (client streaming), `Chat`
(both). A request is `key=value` pairs joined by `&`: `code=5` fails with that code, `count=10` is the
number of messages of the response, `bytes=100` their size, `sleep=0.5` the time before the answer.
"""

import argparse
import json
import sys
import time
from concurrent import futures

import grpc

CODES = {code.value[0]: code for code in grpc.StatusCode}


def asked(request):
    pairs = (pair.split("=", 1) for pair in request.decode("latin-1").split("&") if "=" in pair)
    return dict(pairs)


def obey(request, context):
    """Sleeps and fails as the request says; what is left to do of it."""
    what = asked(request)
    time.sleep(float(what.get("sleep", 0)))
    code = int(what.get("code", 0))
    if code:
        context.abort(CODES[code], f"as asked: {code}")
    return what


def message(what):
    return b"x" * int(what.get("bytes", 5))


def get(request, context):
    return message(obey(request, context))


def list_(request, context):
    what = obey(request, context)
    for _ in range(int(what.get("count", 1))):
        yield message(what)


def put(requests, context):
    count, last = 0, b""
    for last in requests:
        count += 1
    obey(last, context)
    return str(count).encode()


def chat(requests, context):
    for request in requests:
        yield message(obey(request, context))


class Cart(grpc.GenericRpcHandler):
    METHODS = {
        "/shop.Cart/Get": grpc.unary_unary_rpc_method_handler(get),
        "/shop.Cart/List": grpc.unary_stream_rpc_method_handler(list_),
        "/shop.Cart/Put": grpc.stream_unary_rpc_method_handler(put),
        "/shop.Cart/Chat": grpc.stream_stream_rpc_method_handler(chat),
    }

    def service(self, details):
        return self.METHODS.get(details.method)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    limits = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), options=limits)
    server.add_generic_rpc_handlers((Cart(),))
    port = server.add_insecure_port(f"127.0.0.1:{options.port}")
    server.start()
    print(json.dumps({"ready": port}), flush=True)
    # Ends with its standard input, so that it never outlives the test.
    sys.stdin.read()
    server.stop(None)


main()
