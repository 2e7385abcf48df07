"""What is counted, by process; `/metrics` shows it. Names end in their unit, or in `total` for counts."""

from prometheus_client import Counter, Gauge, Histogram

from streams.counting import Counts, Spread

#: router
EVENTS = Counts("hookfold_events_total", "Events judged, by what became of them", ["fate"])
CHANGES = Counter("hookfold_changes_total", "Subscription changes read, by what became of them", ["fate"])
BARRIER_S = Histogram("hookfold_barrier_seconds", "Wait of a batch of events for the changes before it")
REREAD = Counter("hookfold_events_reread_total", "Event records read again because the feed had left them out")

#: every lane
TRANSACTIONS = Counter("hookfold_transactions_total", "Transactions, by how they ended", ["end"])
TRANSACTION_S = Histogram(
    "hookfold_transaction_seconds",
    "Time that a transaction took",
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
TURN_S = Histogram(
    "hookfold_turn_seconds",
    "Wait of a lane with something to commit for its turn",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
LANES = Gauge("hookfold_lanes_open", "Partitions whose lane is open in this process")

#: router, of its partitions; egress, of all
ENDPOINTS = Gauge("hookfold_endpoints", "Endpoints that this process knows, those included that are gone since lately")

#: egress
ATTEMPTS = Counts("hookfold_attempts_total", "Attempts, by verdict and kind of error", ["verdict", "error_kind"])
LATENCY_S = Spread(
    "hookfold_attempt_seconds",
    "Time from the start of an attempt to its outcome",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30),
)
IN_FLIGHT = Gauge("hookfold_attempts_in_flight", "Attempts under way")
BREAKERS = Counter("hookfold_breakers_opened_total", "Times that an endpoint's breaker opened after being closed")
CONNECTIONS_OPENED = Counts("hookfold_connections_opened_total", "Connections made to receivers")
CONNECTIONS_REUSED = Counts("hookfold_connections_reused_total", "Requests over a connection that was kept open")
CONNECTIONS_STALE = Counts("hookfold_connections_stale_total", "Kept connections found closed or grown too old")
QUEUED = Gauge("hookfold_deliveries_queued", "Deliveries waiting in memory for their turn")
QUEUED_BYTES = Gauge("hookfold_deliveries_queued_bytes", "Data of the deliveries in memory")
DEFERRED = Counter("hookfold_deliveries_deferred_total", "Deliveries put off without an attempt", ["cause"])

#: delayer
HOPS = Counter("hookfold_retries_moved_total", "Waiting deliveries moved on, by where to", ["topic"])
LATENESS_S = Histogram(
    "hookfold_due_lateness_seconds",
    "How long after their time waiting deliveries became due",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 30, 300),
)

#: gateway
CALLS = Counter("hookfold_calls_total", "Calls of the HTTP API, by call and status", ["call", "status"])
