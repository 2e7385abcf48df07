"""Settings: environment variables `HOOKFOLD_…` or a `.env` file; one model a process, units in the names."""

import re
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from schemas.ring import parse_keys

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"^(\d{1,9})(ms|s|m|h|d)$")

#: The longest wait a schedule may name: 30 days.
MAX_DELAY_MS = 30 * 86_400_000


def parse_duration_ms(text: str, max_ms: int = MAX_DELAY_MS) -> int:
    """Milliseconds of `500ms`, `5s`, `30m`, `2h` or `1d`. Raises ValueError on anything else, or over `max_ms`."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is not a duration such as 500ms, 5s, 30m, 2h or 1d")
    duration_ms = int(found[1]) * _UNITS_MS[found[2]]
    if duration_ms > max_ms:
        raise ValueError(f"{text!r} is longer than {max_ms // _UNITS_MS['d']} days")
    return duration_ms


def _durations(text: str) -> str:
    for part in filter(None, text.split(",")):
        parse_duration_ms(part)
    return text


def _duration(text: str) -> str:
    parse_duration_ms(text)
    return text


def _tiers(text: str) -> str:
    lengths = [parse_duration_ms(part) for part in text.split(",")]
    if lengths != sorted(set(lengths)) or lengths[0] < 1:
        raise ValueError("the tiers must be given from the shortest to the longest, each once")
    return text


def _networks(text: str) -> str:
    for part in filter(None, (part.strip() for part in text.split(","))):
        ip_network(part)
    return text


def _seal_keys(text: SecretStr) -> SecretStr:
    parse_keys(text.get_secret_value())
    return text


Durations = Annotated[str, AfterValidator(_durations)]
Duration = Annotated[str, AfterValidator(_duration)]


class Settings(BaseSettings):
    """What every process needs: where Kafka is, and how topics are called."""

    model_config = SettingsConfigDict(
        env_prefix="HOOKFOLD_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True
    )

    kafka: str = Field("127.0.0.1:9092", min_length=1, description="bootstrap servers, comma-separated")
    kafka_security: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        "plaintext", description="how to speak to Kafka"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="SASL mechanism"
    )
    kafka_username: str | None = Field(None, description="SASL user")
    kafka_password: SecretStr | None = Field(None, description="SASL password")
    kafka_ca_file: Path | None = Field(None, description="CA certificates for Kafka, PEM; the system's where unset")
    prefix: str = Field("hookfold.", pattern=r"^[A-Za-z0-9._-]{0,100}$", description="first part of every topic name")
    partitions: int = Field(8, ge=1, le=1024, description="partitions of each topic")
    replication: int = Field(1, ge=1, le=16, description="replicas of each partition")
    data_dir: Path = Field(Path("data"), description="where a process keeps its caches and the local Kafka its log")
    delay_tiers: Annotated[str, AfterValidator(_tiers)] = Field(
        "1s,5s,30s,2m,10m,1h,4h", description="the topics retries.<delay>, from the shortest to the longest"
    )
    commit_interval_ms: int = Field(
        500, ge=5, le=5_000, description="longest wait of finished work for its transaction; under load, else less"
    )
    drain_ms: int = Field(5_000, ge=0, le=600_000, description="time that work in flight gets at shutdown")
    instance: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="name of this process among its like: a restart under the same name moves no partition",
    )
    session_timeout_ms: int = Field(
        10_000, ge=1_000, le=300_000, description="how long Kafka waits for a silent member of a group"
    )
    stall_exit_ms: int = Field(
        60_000, ge=1_000, description="a lane with work waiting and no progress for so long ends its process"
    )
    bind: str = Field("127.0.0.1", description="address of the web pages")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level of log lines")

    @model_validator(mode="after")
    def _credentials(self) -> "Settings":
        if self.kafka_security.startswith("sasl") and not (self.kafka_username and self.kafka_password):
            raise ValueError(
                "HOOKFOLD_KAFKA_SECURITY with SASL needs HOOKFOLD_KAFKA_USERNAME and HOOKFOLD_KAFKA_PASSWORD"
            )
        return self

    @cached_property
    def tiers_ms(self) -> dict[str, int]:
        """The delay tiers by name, shortest first, each with its length in ms."""
        return {name.strip(): parse_duration_ms(name) for name in self.delay_tiers.split(",")}

    def topic(self, name: str) -> str:
        """The topic's full name."""
        return self.prefix + name

    def group(self, service: str) -> str:
        """The consumer group of a service, which is also the start of its transactional ids."""
        return self.prefix + service


class ReachSettings(Settings):
    """What may be delivered to, and the keys that secrets are sealed with."""

    allow_networks: Annotated[str, AfterValidator(_networks)] = Field(
        "", description="CIDRs that deliveries may reach although private, comma-separated"
    )
    allow_http: bool = Field(False, description="allow plain http targets")
    seal_keys: Annotated[SecretStr, AfterValidator(_seal_keys)] = Field(
        SecretStr(""), description="keys for secrets at rest, `id:base64,…`; the first seals, all open"
    )

    @cached_property
    def keys(self) -> dict[str, bytes]:
        """`seal_keys`, parsed."""
        return parse_keys(self.seal_keys.get_secret_value())

    @cached_property
    def allowed_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """`allow_networks`, parsed."""
        return tuple(ip_network(part.strip()) for part in self.allow_networks.split(",") if part.strip())


class RegistrationSettings(ReachSettings):
    """What an endpoint may be registered with."""

    default_verification: Literal["challenge", "okta", "cloudevents", "none"] = Field(
        "challenge", description="how an endpoint is verified that does not say"
    )
    max_event_bytes: int = Field(1_048_576, ge=1, le=8 * 1_048_576, description="larger events are rejected")


class JudgingSettings(RegistrationSettings):
    """What events are judged by, for who judges them and for who explains it."""

    dedupe_window_ms: int = Field(3_600_000, ge=0, description="how far back an event id is known")
    dedupe_events: int = Field(100_000, ge=0, description="how many event ids a partition knows at most")
    history_ms: int = Field(86_400_000, ge=0, description="how long versions of an endpoint are kept for late events")
    seal_payloads: bool = Field(
        False, description="seal the data of events in the log, so that it can be erased; needs HOOKFOLD_SEAL_KEYS"
    )

    @model_validator(mode="after")
    def _sealable(self) -> "JudgingSettings":
        if self.seal_payloads and not self.keys:
            raise ValueError(
                "HOOKFOLD_SEAL_PAYLOADS needs HOOKFOLD_SEAL_KEYS; `hookfold seal --new-key ID` makes a key"
            )
        return self


class RouterSettings(JudgingSettings):
    """`hookfold router`."""

    router_port: int = Field(6066, ge=0, le=65535, description="port of the router's web pages")
    router_feed: Literal["bulk", "agent"] = Field("bulk", description="`agent`: events come through Faust's agent")
    replay_rate_per_s: float = Field(500, ge=0.1, le=100_000, description="deliveries/s of a replay that does not say")


class EgressSettings(ReachSettings):
    """`hookfold egress`."""

    egress_port: int = Field(6067, ge=0, le=65535, description="port of the egress's web pages")
    retry_schedule: Durations = Field(
        "5s,5m,30m,2h,5h,10h,10h", description="the waits between attempts; one attempt more than waits"
    )
    retry_jitter: float = Field(0.1, ge=0, le=1, description="share of a wait that is added at random")
    order_wait: Duration = Field(
        "1d", description="an ordered delivery that is older is not tried again, since others wait for it"
    )
    disable_after: Duration = Field(
        "5d", description="an endpoint that has accepted nothing for so long, though tried, is disabled; 0s is never"
    )
    origin: str = Field(
        "hookfold", pattern=r"^[A-Za-z0-9.-]{1,253}$", description="this installation's name in CloudEvents handshakes"
    )
    http_client: Literal["direct", "session"] = Field("direct", description="`session`: aiohttp's public client")
    timeout_ms: int = Field(15_000, ge=1, le=600_000, description="one attempt, connect to end of body")
    in_flight: int = Field(100, ge=1, le=10_000, description="attempts at a time in one process")
    endpoint_in_flight: int = Field(10, ge=1, le=10_000, description="attempts at a time to one endpoint")
    endpoint_queue: int = Field(1_000, ge=1, le=100_000, description="deliveries waiting in memory for one endpoint")
    queue_bytes: int = Field(64 * 1_048_576, ge=1_048_576, description="data waiting in memory in one process")

    @cached_property
    def schedule_ms(self) -> tuple[int, ...]:
        """`retry_schedule`, parsed."""
        return tuple(parse_duration_ms(part) for part in self.retry_schedule.split(",") if part.strip())

    @cached_property
    def disable_after_ms(self) -> int:
        """`disable_after`, parsed."""
        return parse_duration_ms(self.disable_after)

    @cached_property
    def order_wait_ms(self) -> int:
        """`order_wait`, parsed."""
        return parse_duration_ms(self.order_wait)


class DelayerSettings(Settings):
    """`hookfold delayer`."""

    delayer_port: int = Field(6068, ge=0, le=65535, description="port of the delayer's web pages")


class TokenSettings(Settings):
    """What tokens are signed with."""

    api_secret: SecretStr = Field(
        SecretStr(""), description="secrets that tokens are signed with, comma-separated; the first signs, all verify"
    )

    @cached_property
    def api_secrets(self) -> tuple[str, ...]:
        """`api_secret`, parsed."""
        return tuple(filter(None, (part.strip() for part in self.api_secret.get_secret_value().split(","))))


class OperatorSettings(TokenSettings):
    """`hookfold endpoints`, `hookfold sources` and `hookfold deliveries`."""

    url: str = Field("http://127.0.0.1:8080", description="where the gateway is")
    token: SecretStr = Field(
        SecretStr(""), description="a token for it; made with HOOKFOLD_API_SECRET where that is set"
    )


class GatewaySettings(JudgingSettings, TokenSettings):
    """`hookfold gateway`."""

    gateway_port: int = Field(8080, ge=0, le=65535, description="port of the HTTP API")
    max_body_bytes: int = Field(1_048_576, ge=1, le=8 * 1_048_576, description="largest body of a request")
    gateway_rate_per_s: int = Field(1_000, ge=1, description="requests a second of one tenant, with one second's burst")
    write_wait_ms: int = Field(5_000, ge=0, le=60_000, description="how long a write waits for the state to show it")
    results_days: int = Field(30, ge=1, description="how long deliveries are shown; as long as `results` is kept")


_Model = TypeVar("_Model", bound=Settings)


def default_of(field: FieldInfo) -> str:
    """A setting's default as text; empty where there is none."""
    default = field.default
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    return "" if default is None else str(default)


def load(model: type[_Model], **overrides: Any) -> _Model | str:
    """The settings of the environment, or one clear line that names the variable at fault."""
    try:
        return model(**overrides)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        name = "HOOKFOLD_" + "_".join(str(part) for part in first["loc"]).upper() if first["loc"] else ""
        return f"{name}: {first['msg']}" if name else str(first["msg"])
    except (SettingsError, OSError) as problem:
        return str(problem)
