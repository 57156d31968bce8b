"""Python's own http.client: COUNT requests to PATH/0, PATH/1, …

    http_client.py --target HOST:PORT --path /plain/row --count 10 [--new-connections]
"""

import argparse
import http.client

from http1 import log, now


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--query", default="")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--method", default="GET")
    parser.add_argument("--body", type=int, default=0)
    parser.add_argument("--new-connections", action="store_true")
    args = parser.parse_args()
    connection = http.client.HTTPConnection(args.target, timeout=30)
    query = f"?{args.query}" if args.query else ""
    for number in range(args.count):
        path = f"{args.path}/{number}"
        start = now()
        connection.request(args.method, path + query, body=b"b" * args.body or None)
        response = connection.getresponse()
        response.read()
        log("client", args.method, path, response.status, True, start, now(), connection.sock)
        if args.new_connections:
            connection.close()
    connection.close()


if __name__ == "__main__":
    main()
