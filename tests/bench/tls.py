"""Saturated, with receivers that speak TLS; an authority made for the run vouches for them (SSL_CERT_FILE).

BENCH_TLS_EVENTS says how many events (10,000), BENCH_TLS_HOSTS how many receivers (20).
"""

import os
import tempfile
from pathlib import Path

import trustme

from tests.bench import offering
from tests.bench.offering import Offer, Way

EVENTS = int(os.environ.get("BENCH_TLS_EVENTS", "10000"))
HOSTS = int(os.environ.get("BENCH_TLS_HOSTS", "20"))


async def run() -> bool:
    """Print the figures; True where they are verified."""
    with tempfile.TemporaryDirectory() as name:
        authority, known, own = trustme.CA(), Path(name) / "authority.pem", Path(name) / "receiver.pem"
        authority.cert_pem.write_to_path(str(known))
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(own))
        way = Way(more={"SSL_CERT_FILE": str(known)}, ports=HOSTS, certificate=own)
        _, verified = await offering.run(f"tls, {HOSTS} receivers", Offer(EVENTS), way)
    return verified
