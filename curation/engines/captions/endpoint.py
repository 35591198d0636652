"""Declares the endpoint engine: an OpenAI-compatible server (vLLM, SGLang, llama.cpp, a provider) writes captions."""

from urllib.parse import SplitResult, urlsplit

from curation.engines.captions.endpoint_settings import RUN_SETTINGS, EndpointSettings
from curation.engines.declaration import EngineDeclaration, OtherEngines
from curation.engines.kinds import CAPTIONS, CaptionEngine
from schemas.errors import UsageError


def make_endpoint(settings: EndpointSettings) -> CaptionEngine:
    """Makes the client. Raises `UsageError` without an address, or where the key's variable is not set."""
    check_server(settings)
    from curation.engines.captions.runtime.endpoint import Endpoint

    return Endpoint(settings)


def check_settings(settings: EndpointSettings, _: OtherEngines) -> list[str]:
    """Checks the address and that the key is there. Raises `UsageError`."""
    check_server(settings)
    return []


def ask_server(settings: EndpointSettings) -> list[str]:
    """Asks the server whether it can caption, unless the settings forbid that. Returns notices. Raises `UsageError`."""
    if not settings.check_server:
        return []
    from curation.engines.captions.runtime.server_check import ServerCheck

    return ServerCheck(settings).ask()


def check_server(settings: EndpointSettings) -> None:
    """Raises `UsageError` without a model or a usable address, or where the key's variable is not set here."""
    if not settings.model:
        raise UsageError("endpoint: no model: set model in the engine's settings, to a name that the server knows")
    if settings.base_url is None:
        raise UsageError("endpoint: no server: set base_url in run.settings, such as http://localhost:8000/v1")
    url = urlsplit(settings.base_url)
    if url.scheme not in ("http", "https") or not url.hostname or not _has_valid_port(url):
        raise UsageError("endpoint: base_url is no address of a server: write it as http://HOST:PORT/v1")
    if url.username or url.password or url.query or url.fragment:
        raise UsageError("endpoint: base_url has more than an address: put a key into the variable of key_variable")
    if settings.key_variable is not None and not settings.read_key():
        raise UsageError(
            f"endpoint: the environment variable {settings.key_variable} is not set: export it here, and on a cluster "
            "on each node before `ray start`"
        )


def _has_valid_port(url: SplitResult) -> bool:
    try:
        return url.port is None or url.port > 0
    except ValueError:
        return False


ENGINE = EngineDeclaration(
    name="endpoint",
    kind=CAPTIONS,
    settings=EndpointSettings,
    make=make_endpoint,
    extra="captions",
    needs_pixels=lambda settings: settings.send_image,
    compute_wait_seconds=EndpointSettings.compute_wait_seconds,
    check=check_settings,
    ask=ask_server,
    takes_concurrent_calls=True,
    ignores_batches=True,
    restricted_settings=RUN_SETTINGS,
    run_settings=RUN_SETTINGS,
)
