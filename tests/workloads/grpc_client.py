"""A gRPC client (grpcio, C core) that makes the calls it is told, over one connection.

    grpc_client.py --target 127.0.0.1:50051 [--before N] JOB...

A job is `METHOD:CALLS:CONCURRENCY[:REQUEST[:MESSAGES]]`, such as `Get:1000:10` or
`List:1:1:count=10000`; `DEADLINE` and `CANCEL` before a colon do what they say to each call of the job,
after 100 ms. With `--before N`, N calls of `Get` are made first, then it says that it waits and goes on
at the next line of its standard input. At the end it prints how its calls ended, by method.
"""

import argparse
import json
import sys
import threading
import time
from collections import Counter

import grpc

GRACE = 0.1


def padded(request):
    """The request's bytes; `pad=1000` among its pairs makes it so much longer."""
    pad = dict(pair.split("=", 1) for pair in request.split("&") if "=" in pair).get("pad", 0)
    return (request + "&" * (int(pad) > 0)).encode() + b"p" * int(pad)


class Client:
    def __init__(self, target):
        # No proxy of the environment, and no limits of size.
        self.channel = grpc.insecure_channel(target, options=[
            ("grpc.enable_http_proxy", 0),
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
        ])
        make = self.channel
        self.methods = {
            "Get": make.unary_unary("/shop.Cart/Get"),
            "List": make.unary_stream("/shop.Cart/List"),
            "Put": make.stream_unary("/shop.Cart/Put"),
            "Chat": make.stream_stream("/shop.Cart/Chat"),
        }
        self.ended = Counter()
        self.received = Counter()
        self.lock = threading.Lock()

    def call(self, method, request, messages, how):
        method_of = self.methods[method]
        timeout = GRACE if how == "DEADLINE" else 60
        stream = method in ("Put", "Chat")
        payload = iter([request] * messages) if stream else request
        code, received = grpc.StatusCode.OK, 0
        try:
            if method in ("List", "Chat"):
                responses = method_of(payload, timeout=timeout)
                if how == "CANCEL":
                    time.sleep(GRACE)
                    responses.cancel()
                for _ in responses:
                    received += 1
            elif how == "CANCEL":
                future = method_of.future(payload, timeout=timeout)
                time.sleep(GRACE)
                future.cancel()
                code = future.code()
            else:
                method_of(payload, timeout=timeout)
                received = 1
        except grpc.FutureCancelledError:
            code = grpc.StatusCode.CANCELLED
        except grpc.RpcError as error:
            code = error.code()
        with self.lock:
            self.ended[f"shop.Cart/{method} {code.name}"] += 1
            self.received[f"shop.Cart/{method}"] += received

    def job(self, text):
        how = ""
        if text.split(":", 1)[0] in ("DEADLINE", "CANCEL"):
            how, text = text.split(":", 1)
        parts = text.split(":")
        method, calls, concurrency, request, messages = parts + ["", "1"][len(parts) - 3:]
        todo = iter(range(int(calls)))
        lock = threading.Lock()

        def work():
            while True:
                with lock:
                    if next(todo, None) is None:
                        return
                self.call(method, padded(request), int(messages), how)

        threads = [threading.Thread(target=work) for _ in range(int(concurrency))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True)
    parser.add_argument("--before", type=int, default=-1)
    parser.add_argument("jobs", nargs="*")
    options = parser.parse_args()
    client = Client(options.target)
    if options.before >= 0:
        if options.before:
            client.job(f"Get:{options.before}:1")
        else:
            grpc.channel_ready_future(client.channel).result(timeout=30)
        client.ended.clear()
        client.received.clear()
        print(json.dumps({"waiting": True}), flush=True)
        sys.stdin.readline()
    for job in options.jobs:
        client.job(job)
    client.channel.close()
    print(json.dumps({"calls": client.ended, "messages": client.received}), flush=True)


main()
