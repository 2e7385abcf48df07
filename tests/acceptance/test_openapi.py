"""The OpenAPI document is true: generated requests find no fault of ours and no answer that is not in it."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from plain import Api, Receiver, tenant_name

#: Whether an event or a URL is valid depends on more than a schema can say.
NOT_CHECKED = "positive_data_acceptance"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (25, ("--exclude-operation-id", "unregister_an_endpoint")),
        (5, ("--include-operation-id", "unregister_an_endpoint")),
    ],
)
async def test_generated_requests_find_nothing(
    make_api: Callable[..., Api], receiver: Receiver, tmp_path: Path, seconds: int, words: tuple[str, ...]
) -> None:
    config = tmp_path / "schemathesis.toml"
    async with make_api(tenant_name(), "write", "publish") as api:
        given = {"url": receiver.url, "subscriptions": [{"event_types": ["*"]}], "verification": "none"}
        await api.ok("POST", "/endpoints", {**given, "endpoint_id": "ep"}, 201)
        await api.call("PUT", "/sources/src", {"scheme": "bearer"})
        config.write_text(
            f'[parameters]\n"path.tenant" = "{api.tenant}"\n"path.endpoint_id" = "ep"\n"path.source_id" = "src"\n'
        )
        command = [
            str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config), "run",
            f"{api.url}/openapi.json", "--header", f"Authorization: Bearer {api.token}",
            "--phases", "coverage,fuzzing", "--max-time", str(seconds), "--checks", "all", "--seed", "6",
            "--exclude-checks", NOT_CHECKED, "--continue-on-failure", "--no-color", *words,
        ]  # fmt: skip
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=150, check=False, cwd=tmp_path
        )
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    assert "Tested:" in done.stdout
