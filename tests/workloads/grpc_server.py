"""gRPC server of the test service: unary and the three streaming kinds.

Arguments: none. Says {"ready": PORT} when it listens. A request of the unary method says what to do:
`fail CODE`, `sleep SECONDS`; anything else is answered.
"""

import json
import threading
import time
from concurrent import futures

import grpc


def unary(request, context):
    command, _, argument = request.decode().partition(" ")
    if command == "fail":
        context.abort(getattr(grpc.StatusCode, argument), "as asked")
    if command == "sleep":
        time.sleep(float(argument))
    return b"r" * 20


def stream(request, _context):
    for _ in range(int(request)):
        yield b"m" * 10


def collect(requests, _context):
    return str(sum(1 for _ in requests)).encode()


def both(requests, _context):
    yield from requests


def main():
    methods = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Stream": grpc.unary_stream_rpc_method_handler(stream),
        "Collect": grpc.stream_unary_rpc_method_handler(collect),
        "Both": grpc.stream_stream_rpc_method_handler(both),
    }
    server = grpc.server(futures.ThreadPoolExecutor(20))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Calls", methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(json.dumps({"ready": port}), flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
