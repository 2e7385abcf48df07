"""What the README's examples use of curl, for machines without it."""

import argparse
import sys
from urllib.error import HTTPError
from urllib.request import Request, urlopen

parser = argparse.ArgumentParser(prog="curl")
parser.add_argument("-sS", action="store_true")
parser.add_argument("--fail-with-body", action="store_true")
parser.add_argument("-X", dest="method", required=True)
parser.add_argument("-H", dest="headers", action="append", default=[])
parser.add_argument("-d", dest="data")
parser.add_argument("url")
given = parser.parse_args()
headers = dict(header.split(": ", 1) for header in given.headers)
data = given.data.encode() if given.data is not None else None
try:
    with urlopen(Request(given.url, data, headers, method=given.method), timeout=30) as answer:
        sys.stdout.buffer.write(answer.read())
except HTTPError as problem:
    sys.stdout.buffer.write(problem.read())
    sys.exit(22)
