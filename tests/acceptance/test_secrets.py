"""With a seal key set, no secret stands anywhere: not in a topic, a file, a log or an answer."""

import asyncio
import base64
import hmac
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from plain import Api, Client, Receiver, tenant_name, until
from stack import API_SECRET, SERVICES, Stack

TOPICS = (
    "events", "subscriptions", "endpoints", "deliveries", "deliveries.due", "results", "dead-letters", "rejected",
    "retries.1s", "retries.5s",
)  # fmt: skip


def key(name: str) -> str:
    return f"{name}:{base64.b64encode(os.urandom(32)).decode()}"


def secret() -> str:
    return "whsec_" + base64.b64encode(os.urandom(24)).decode()


OLD, NEW = key("old"), key("new")


@pytest.fixture
async def sealed(make_stack: Any, tmp_path: Path) -> AsyncIterator[Stack]:
    stack: Stack = make_stack(
        HOOKFOLD_DATA_DIR=str(tmp_path / "data"), HOOKFOLD_SEAL_KEYS=OLD, HOOKFOLD_LOG_LEVEL="debug"
    )
    stack.start(*SERVICES, "gateway")
    await asyncio.to_thread(stack.wait_ready, *SERVICES, "gateway")
    yield stack
    await asyncio.to_thread(stack.close)


def seal(stack: Stack, text: str, *words: str) -> str:
    made = stack.command("seal", text, *words)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


async def third_parties(stack: Stack, api: Api, client: Client, answers: list[bytes]) -> list[str]:
    """Register sources and send by them, rightly and wrongly; their secrets."""
    mine = {name: os.urandom(12).hex() for name in ("github", "basic", "kafka", "wrong", "stolen")}
    signing = secret()

    async def call(verb: str, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
        said = await api.call(verb, path, body, **headers)
        assert said.status == status, (path, said)
        answers.append(said.raw)
        return said

    for scheme, secrets, status in (
        ("github", [mine["github"]], 201),
        ("standard", [signing], 201),
        ("basic", [f"ada:{mine['basic']}"], 201),
        ("standard", [signing, mine["wrong"]], 422),
        ("shopify", [seal(stack, mine["stolen"])], 422),
    ):
        await call("PUT", f"/sources/{scheme}", {"scheme": scheme, "secrets": secrets}, status)
    mine["made"] = (await call("PUT", "/sources/made", {"scheme": "api_key"}, 201)).json["secret"]
    answers.pop()  # this once
    change = {"type": "source.registered", "source_id": "kafka", "scheme": "bearer"}
    value = json.dumps({**change, "secrets": [seal(stack, mine["kafka"])]}).encode()
    await client.producer.send_and_wait(client.prefix + "subscriptions", value, key=api.tenant.encode())
    while (await api.call("GET", "/sources/kafka")).status != 200:
        await asyncio.sleep(0.05)
    signature = hmac.digest(mine["github"].encode(), b"{}", "sha256").hex()
    basic = {user: base64.b64encode(f"{user}:{mine['basic']}".encode()).decode() for user in ("ada", "eve")}
    for source, headers, status in (
        ("github", {"x-hub-signature-256": f"sha256={signature}"}, 202),
        ("standard", {"webhook-id": "m", "webhook-timestamp": "1", "webhook-signature": "v1,x"}, 401),
        ("basic", {"authorization": f"Basic {basic['ada']}"}, 202),
        ("basic", {"authorization": f"Basic {basic['eve']}"}, 401),
        ("made", {"x-api-key": mine["made"]}, 202),
        ("kafka", {"authorization": f"Bearer {mine['kafka']}"}, 202),
    ):
        await call("POST", f"//in/{api.tenant}/{source}", b"{}", status, **headers)
    await call("GET", "/sources")
    await call("GET", "/sources/basic")
    await until(lambda: len([r for r in client.records["events"] if dict(r.headers).get("ce_source")]) == 4, 20, "in")
    return [*mine.values(), signing, base64.b64decode(signing.removeprefix("whsec_")).hex(), *basic.values()]


async def test_no_byte_of_a_secret_is_found_anywhere(sealed: Stack, receiver: Receiver, tmp_path: Path) -> None:
    tenant, answers = tenant_name(), []
    mine = {name: os.urandom(12).hex() for name in ("header", "password", "bearer")}
    given, rotated, by_kafka = secret(), secret(), secret()
    token = jwt.encode({"tenant": tenant, "scope": "write publish"}, API_SECRET, "HS256")
    receiver.answers["/bad"] = 500
    async with (
        Client(sealed.kafka, sealed.prefix) as client,
        Api(f"http://127.0.0.1:{sealed.ports['gateway']}", token, tenant) as api,
    ):
        await client.follow(*TOPICS)

        async def call(verb: str, path: str, body: Any = None) -> Any:
            said = await api.call(verb, path, body)
            answers.append(said.raw)
            return said

        base = {"subscriptions": [{"event_types": ["*"]}], "verification": "none", "headers": {"x-key": mine["header"]}}
        await call("POST", "/endpoints", {
            **base, "endpoint_id": "ok", "url": receiver.url + "/ok", "secrets": [given],
            "auth": {"kind": "basic", "username": "ada", "password": mine["password"]},
        })  # fmt: skip
        await call("POST", "/endpoints", {
            **base, "endpoint_id": "bad", "url": receiver.url + "/bad", "secrets": [given],
            "auth": {"kind": "bearer", "token": mine["bearer"]}, "retry": {"schedule": ["1s"], "jitter": 0},
        })  # fmt: skip
        await call("POST", "/endpoints", {**base, "url": "https://10.0.0.1/", "secrets": [given]})
        await call("POST", "/endpoints", {**base, "url": receiver.url, "secrets": [given, "nonsense " + given]})
        await call("POST", "/endpoints/ok/rotate-secret", {"secret": rotated})
        shown = answers.pop()
        assert rotated.encode() in shown  # this once
        made = await call("POST", "/endpoints", {**base, "endpoint_id": "made", "url": receiver.url + "/made"})
        shown_once = made.json["secret"]
        answers.pop()
        sealed_text = seal(sealed, by_kafka, "--tenant", tenant, "--endpoint", "by-kafka")
        registration = {**base, "headers": {"x-key": seal(sealed, mine["header"])}, "url": receiver.url + "/by-kafka"}
        await client.change(tenant, "endpoint.registered", "by-kafka", **registration, secrets=[sealed_text])
        await client.change(tenant, "endpoint.registered", "elsewhere", **registration, secrets=[sealed_text])
        await until(lambda: any(r.key == tenant.encode() for r in client.records["rejected"]), 20, "rejected")
        await call("POST", "/events", {"type": "a", "id": "e", "data": 1})
        await until(lambda: len(client.results(tenant)) == 5 and bool(client.records["dead-letters"]), 30, "results")
        for path in ("/endpoints", "/endpoints/ok", "/endpoints/bad", "/deliveries"):
            await call("GET", path)
        for item in (await api.ok("GET", "/deliveries"))["items"]:
            await call("GET", f"/deliveries/{item['delivery_id']}")
        answers.append(sealed.page("router", f"/endpoints/{tenant}/ok/")[1])
        # It is what the receivers got, and nowhere else.
        (post,) = receiver.at("/ok")
        for signing in (given, rotated):
            post.verify(signing)
        receiver.at("/by-kafka")[0].verify(by_kafka)
        receiver.at("/made")[0].verify(shown_once)
        assert post.headers["x-key"] == receiver.at("/by-kafka")[0].headers["x-key"] == mine["header"]
        assert post.headers["authorization"] == "Basic " + base64.b64encode(f"ada:{mine['password']}".encode()).decode()
        assert receiver.at("/bad")[0].headers["authorization"] == f"Bearer {mine['bearer']}"
        of_sources = await third_parties(sealed, api, client, answers)
        records = [
            part
            for name in TOPICS
            for record in client.records[name]
            for part in (record.key or b"", record.value or b"", *(value for _, value in record.headers))
        ]
    logs = [sealed.log(name).encode() for name in (*SERVICES, "gateway")]
    files = [path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()]
    everything = b"\n".join([*answers, *records, *logs, *files])
    assert len(files) >= 1
    assert b"by-kafka" in everything
    for one in (given, rotated, by_kafka, shown_once):
        for form in (one, one.removeprefix("whsec_"), base64.b64decode(one.removeprefix("whsec_")).hex()):
            assert form.encode() not in everything
        assert base64.b64decode(one.removeprefix("whsec_")) not in everything
    for text in (*mine.values(), *of_sources):
        assert text.encode() not in everything
        assert base64.b64encode(f"ada:{text}".encode()) not in everything


async def test_keys_are_rotated_and_one_that_is_missing_costs_no_attempt(sealed: Stack, receiver: Receiver) -> None:
    tenant, first, second = tenant_name(), secret(), secret()
    async with Client(sealed.kafka, sealed.prefix) as client:
        await client.follow("results", "endpoints")
        await client.register(tenant, "ep", receiver.url + "/in", secrets=[seal(sealed, first)])
        await client.event(tenant, 1)
        await until(lambda: len(client.results(tenant)) == 1, 20, "delivered")

        def restart(**settings: str) -> None:
            sealed.env.update(settings)
            for name in ("router", "egress"):
                sealed.stop(name)
            sealed.start("router", "egress")
            sealed.wait_ready("router", "egress")

        await asyncio.to_thread(restart, HOOKFOLD_SEAL_KEYS=NEW)
        await client.event(tenant, 2)
        await asyncio.sleep(2.0)
        assert len(client.results(tenant)) == 1
        assert "which is not in HOOKFOLD_SEAL_KEYS" in sealed.log("egress")
        await asyncio.to_thread(restart, HOOKFOLD_SEAL_KEYS=f"{NEW},{OLD}")
        await until(lambda: len(client.results(tenant)) == 2, 30, "delivered")
        assert [(r["verdict"], r["attempt"]) for r in client.results(tenant)] == [("delivered", 1)] * 2
        await client.change(tenant, "secret.rotated", "ep", secret=second, overlap_ms=60_000)
        await client.event(tenant, 3)
        await until(lambda: len(client.results(tenant)) == 3, 20, "delivered")
        for signing in (first, second):
            receiver.at("/in")[-1].verify(signing)
        state = json.loads([r.value for r in client.records["endpoints"] if r.key == f"{tenant}/ep".encode()][-1])
        assert state["secrets"][0].startswith("sealed:e.new.")
        assert state["expiring_secrets"][0]["secret"].startswith("sealed:e.old.")


def test_what_cannot_be_sealed_says_so(stack: Stack) -> None:
    for settings, words, line in (
        ({"HOOKFOLD_SEAL_KEYS": ""}, ("seal", "x"), "HOOKFOLD_SEAL_KEYS: not set"),
        ({"HOOKFOLD_SEAL_KEYS": OLD}, ("seal", ""), "there is nothing to seal"),
        ({"HOOKFOLD_SEAL_KEYS": OLD}, ("seal", "x", "--tenant", "t"), "--tenant and --endpoint go together"),
        ({"HOOKFOLD_SEAL_KEYS": "a:short"}, ("seal", "x"), "HOOKFOLD_SEAL_KEYS: "),
    ):
        refused = stack.command(*words, **settings)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert line in refused.stderr
    made = stack.command("seal", "--new-key", "k-1").stdout.strip()
    assert stack.command("seal", "x", HOOKFOLD_SEAL_KEYS=made).stdout.startswith("sealed:a.k-1.")
