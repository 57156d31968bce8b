"""gRPC client of the test service, all calls over one channel, ten at a time.

Arguments: HOST:PORT, calls before, calls after, failing calls of each code. Makes the calls before, says
`waiting`, waits for a line on standard input, makes all others, and says `done`.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import grpc

CODES = ["NOT_FOUND", "INVALID_ARGUMENT", "INTERNAL", "UNAVAILABLE", "PERMISSION_DENIED"]


def main():
    target, before, after, failing = sys.argv[1], *map(int, sys.argv[2:])
    channel = grpc.insecure_channel(target)
    grpc.channel_ready_future(channel).result(30)
    unary = channel.unary_unary("/test.Calls/Unary")

    def failed(code):
        try:
            unary(b"fail " + code.encode())
        except grpc.RpcError as error:
            assert error.code().name == code, error
        else:
            raise AssertionError(code)

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: unary(b"hello"), range(before)))
        print("waiting", flush=True)
        sys.stdin.readline()
        list(pool.map(lambda _: unary(b"hello"), range(after)))
        list(pool.map(failed, CODES * failing))
    assert len(list(channel.unary_stream("/test.Calls/Stream")(b"100"))) == 100
    channel.stream_unary("/test.Calls/Collect")(iter([b"a"] * 7))
    assert len(list(channel.stream_stream("/test.Calls/Both")(iter([b"a"] * 5)))) == 5
    try:
        unary(b"sleep 2", timeout=0.2)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
    cancelled = unary.future(b"sleep 1")
    time.sleep(0.2)
    cancelled.cancel()
    try:
        channel.unary_unary("/test.Calls/Missing")(b"")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error
    # What was cancelled must go out before the channel is closed.
    time.sleep(0.2)
    print("done", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
