"""``w2s doctor``: looks at all that a run needs, and says of each whether it is well, and what to do.

Nothing is made, started or kept: no home, no store, no server. Torch is imported by a process of its own. Where the
project keeps what it makes is looked at in ``doctor_places``, what a server does in ``doctor_server``.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

from artifacts.errors import W2sError
from flows.home import Home
from flows.serve.doctor_places import check_home, check_results, check_store, own_database
from flows.serve.doctor_server import Post, check_log, check_schedules
from flows.serve.environment import profile_setting
from flows.serve.findings import OK, PROBLEM, WARNING, Finding, Unwell
from flows.serve.server import running_server
from tasks.devices import visible_gpus

if TYPE_CHECKING:
    import pyarrow as pa

DEADLINE_S = 12.0
"""For all checks together, which go on at the same time."""

IDLE = "look again when the machine is idle"
LATE = {"store": "see whether its disk or service is up, and AWS_ENDPOINT_URL right"}
"""What to do about a check that takes longer."""

ASK_TIMEOUT_S = 5.0
SMI_TIMEOUT_S = 5.0

LOOK_AT_TORCH = """
import json, torch
names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
for i in range(len(names)):
    torch.ones(1, device=f"cuda:{i}").sum().item()
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda, "names": names}))
"""

OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
ON = ("1", "ON", "YES", "TRUE")
"""What the libraries of the Hub take for yes."""

Check = Callable[[Home], Iterator[Finding]]


def examine(home: Home) -> list[Finding]:
    """Look at everything, for `DEADLINE_S` at most."""
    checks: dict[str, Check] = {
        "versions": check_versions,
        "gpu": check_gpu,
        "home": check_home,
        "store": check_store,
        "results": check_results,
        "server": check_server,
        "hub": check_hub,
    }
    deadline = time.monotonic() + DEADLINE_S
    found: dict[str, list[Finding]] = {name: [] for name in checks}
    threads = {
        # A check that hangs in the kernel or a library must not keep the program from ending.
        name: threading.Thread(target=_collect, args=(name, check, home, found[name]), name=name, daemon=True)
        for name, check in checks.items()
    }
    for thread in threads.values():
        thread.start()
    findings = []
    for name, thread in threads.items():
        thread.join(max(0.0, deadline - time.monotonic()))
        findings += found[name]
        if thread.is_alive():
            findings.append(Finding(name, PROBLEM, f"no answer within {DEADLINE_S:.0f} s", LATE.get(name, IDLE)))
    return findings


def _collect(name: str, check: Check, home: Home, found: list[Finding]) -> None:
    try:
        for finding in check(home):
            found.append(finding)
    except Unwell as end:
        found.append(end.finding)
    except W2sError as error:
        what, _, advice = str(error).partition("; ")  # as all of them are written
        found.append(Finding(name, PROBLEM, what, advice or None))
    except Exception as error:  # whatever it is, the other checks go on
        reason = " ".join(str(error).split())
        found.append(Finding(name, PROBLEM, f"cannot be looked at ({type(error).__name__}: {reason})"))


def as_table(findings: list[Finding]) -> pa.Table:
    """One row per finding."""
    import pyarrow as pa

    names = ("check", "verdict", "found", "what to do")
    return pa.Table.from_pylist([dict(zip(names, finding, strict=True)) for finding in findings])


def check_versions(home: Home) -> Iterator[Finding]:
    """Python and the packages, against what this version of w2s needs."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    python, needed, optional = _needs()
    fits = SpecifierSet(python).contains(platform.python_version(), prereleases=True)
    yield Finding(
        "python",
        OK if fits else PROBLEM,
        f"{platform.python_version()}, needs {python}",
        None if fits else f"make an environment of Python {python} and install w2s there",
    )
    n_wrong = 0
    for line in [*needed, *optional]:
        requirement = Requirement(line)
        name, wanted = requirement.name, requirement.specifier
        try:
            there = version(name)
        except PackageNotFoundError:
            if line in optional:
                continue
            there = None
        if there is None or not wanted.contains(there, prereleases=True):
            n_wrong += 1
            found = f"{name} {there or 'is not installed'}, needs {wanted or 'any version'}"
            yield Finding("packages", PROBLEM, found, f"pip install '{name}{wanted}'")
    if not n_wrong:
        yield Finding("packages", OK, f"all {len(needed)} that w2s needs")


def _needs() -> tuple[str, list[str], list[str]]:
    """What Python, which packages, and which ones where they are there: of the checkout, or of what is installed."""
    path = Path(__file__).parent.parent / "pyproject.toml"
    if path.is_file():
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        return project["requires-python"], project["dependencies"], project["optional-dependencies"]["s3"]
    about = metadata("w2s")
    listed = about.get_all("Requires-Dist") or []
    plain = [line for line in listed if "extra ==" not in line]
    return about["Requires-Python"], plain, [line.partition(";")[0] for line in listed if '"s3"' in line]


def check_gpu(home: Home) -> Iterator[Finding]:
    """Whether the build of torch fits the GPUs that stages will be given."""
    gpus = _listed_gpus()
    wanted = visible_gpus() if gpus else []
    torch = _look_at_torch()
    build = f"torch {torch['version']}, {'CUDA ' + torch['cuda'] if torch['cuda'] else 'a build without CUDA'}"
    names, listed = torch["names"], "; ".join(gpus or [])
    if gpus is None and names:
        yield Finding(
            "gpu",
            WARNING,
            f"{build}, sees {len(names)}, but without nvidia-smi stages run on the CPU",
            f"export CUDA_VISIBLE_DEVICES={','.join(map(str, range(len(names))))}",
        )
    elif not wanted:
        why = f"{len(gpus)} hidden by CUDA_VISIBLE_DEVICES" if gpus else "no NVIDIA GPU"
        yield Finding("gpu", OK, f"{build}; {why}: stages run on the CPU")
    elif not torch["cuda"]:
        yield Finding(
            "gpu",
            PROBLEM,
            f"{build}, but there are {len(wanted)} GPUs: {listed}",
            "install the build of torch for the CUDA version of the driver, or stay on the CPU: "
            "export CUDA_VISIBLE_DEVICES=",
        )
    elif len(names) != len(wanted):
        yield Finding(
            "gpu",
            PROBLEM,
            f"{build}, sees {len(names)} of {len(wanted)} GPUs: {listed}",
            "see whether the driver is as new as this CUDA version needs, and CUDA_VISIBLE_DEVICES names what is there",
        )
    else:
        yield Finding("gpu", OK, f"{build}; {listed}")


def _listed_gpus() -> list[str] | None:
    """What ``nvidia-smi`` lists, with driver and memory; None where there is no such program."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = "--query-gpu=name,driver_version,memory.free,memory.total"
    try:
        listed = subprocess.run(
            ["nvidia-smi", query, "--format=csv,noheader"], capture_output=True, text=True, timeout=SMI_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise Unwell(
            "gpu", PROBLEM, f"nvidia-smi does not answer within {SMI_TIMEOUT_S:.0f} s", "restart the machine"
        ) from None
    if listed.returncode:
        reason = " ".join((listed.stdout + listed.stderr).split())
        raise Unwell(
            "gpu",
            WARNING,
            f"nvidia-smi fails, so stages run on the CPU: {reason}",
            "if there is a GPU, see whether its driver is loaded and as the kernel needs it",
        )
    lines = [line.split(", ") for line in listed.stdout.splitlines() if line.strip()]
    return [f"{name}, driver {driver}, {free} of {total} free" for name, driver, free, total in lines]


def _look_at_torch() -> Mapping[str, object]:
    command = [sys.executable, "-c", LOOK_AT_TORCH]
    try:
        looked = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S - 1)
    except subprocess.TimeoutExpired:
        raise Unwell("gpu", WARNING, f"torch was not there within {DEADLINE_S - 1:.0f} s", IDLE) from None
    if looked.returncode:
        *_, reason = looked.stderr.strip().splitlines() or ["it ended"]
        raise Unwell(
            "gpu", PROBLEM, f"torch does not work: {reason}", "install the build of torch that fits this machine"
        )
    return json.loads(looked.stdout.splitlines()[-1])


def check_server(home: Home) -> Iterator[Finding]:
    """The Prefect server that a run would use, and its database."""
    url = profile_setting(os.environ, "PREFECT_API_URL")
    if url is None:
        yield from _own_server(home)
        yield own_database(home.root / "prefect" / "prefect.db")
        return
    url = url.rstrip("/")
    advice = "start it, or unset PREFECT_API_URL, in the environment or the Prefect profile: a run then starts its own"
    auth = profile_setting(os.environ, "PREFECT_API_AUTH_STRING")
    key = profile_setting(os.environ, "PREFECT_API_KEY")
    answer = _ask(f"{url}/health", {}, _unwell("server", PROBLEM, url, advice))
    if answer.status != 200:
        yield Finding("server", PROBLEM, f"{url} answers {answer.status}", "see whether PREFECT_API_URL ends in /api")
        return
    headers = _basic(auth) if auth else {"Authorization": f"Bearer {key}"} if key else {}
    yield _judge_version(
        url,
        _ask(f"{url}/admin/version", headers, _unwell("server", PROBLEM, url, advice)),
        "set PREFECT_API_AUTH_STRING to the user:password that the server was given",
    )
    yield from check_schedules(_post(url, headers), None, "see whether its services run, and their log")
    ready = _ask(f"{url}/ready", {}, _unwell("database", PROBLEM, url, advice))
    if ready.status == 503:
        advice = "start it; the log of the server says which one it is"
        yield Finding("database", PROBLEM, f"that of {url} does not answer", advice)
    elif ready.status == 200:
        yield Finding("database", OK, f"that of {url} answers")


def _own_server(home: Home) -> Iterator[Finding]:
    folder, log = home.root / "prefect", home.logs / "server.log"
    server = running_server(folder)
    if server is None:
        yield Finding("server", OK, "none runs at this moment; a run starts its own")
        return
    url = f"http://127.0.0.1:{server.port}/api"
    auth = (folder / "auth").read_text().strip()
    advice = f"kill {server.pid}; the next run starts another ({log} may say why)"
    answer = _ask(f"{url}/admin/version", _basic(auth), _unwell("server", PROBLEM, url, advice))
    yield _judge_version(url, answer, advice)
    advice = f"see {log}, then kill {server.pid}: `w2s up`, or the next run, starts another"
    yield from check_schedules(_post(url, _basic(auth)), server.started, advice)
    yield from check_log(log, server.started, advice)


def _judge_version(url: str, answer: Answer, advice: str) -> Finding:
    """What the answer of a server that is up says of passwords and versions."""
    if answer.status in (401, 403):
        return Finding("server", PROBLEM, f"{url} refuses the password ({answer.status})", advice)
    here = version("prefect")
    if answer.status != 200:
        return Finding("server", OK, f"{url} answers")
    there = str(json.loads(answer.body))
    if there.split(".")[:2] != here.split(".")[:2]:
        return Finding(
            "server", WARNING, f"{url} is Prefect {there}, here is {here}", "use the same version on both sides"
        )
    return Finding("server", OK, f"{url} answers, Prefect {there}")


def check_hub(home: Home) -> Iterator[Finding]:
    """Whether data and models can be had from the Hugging Face Hub; no grid of generated data needs it."""
    for name in OFFLINE:
        if os.environ.get(name, "").upper() in ON:
            yield Finding(
                "hub",
                WARNING,
                f"{name} is set: only what was fetched before can be used",
                f"unset {name} for a grid with data or models from the Hub",
            )
            return
    import huggingface_hub

    token = huggingface_hub.get_token()
    url = os.environ.get("HF_ENDPOINT") or huggingface_hub.constants.ENDPOINT
    advice = "see whether HTTPS_PROXY is set as this network needs it; data and models in folders do without"
    # Without a token the Hub refuses this, too, and so has answered.
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = _ask(f"{url}/api/whoami-v2", headers, _unwell("hub", WARNING, url, advice))
    if answer.status not in (200, 401):
        yield Finding("hub", WARNING, f"{url} answers {answer.status}", f"try again later; {advice}")
    elif token and answer.status == 401:
        yield Finding("hub", WARNING, f"{url} refuses the token", "hf auth login, or set HF_TOKEN to one that is valid")
    elif token:
        yield Finding("hub", OK, f"{url} answers and knows the token")
    else:
        yield Finding("hub", OK, f"{url} answers; without a token, which gated data and models need")


class Answer(NamedTuple):
    """Of a server that is there."""

    status: int
    body: str


def _post(url: str, headers: Mapping[str, str]) -> Post:
    """Asks the server whose API is at ``url``."""

    def post(path: str, body: object) -> Any:
        data = json.dumps(body).encode()
        told = {**headers, "Content-Type": "application/json"}
        answer = _ask(f"{url}{path}", told, _unwell("server", PROBLEM, url, IDLE), data)
        return json.loads(answer.body) if answer.status == 200 else None

    return post


def _ask(
    url: str, headers: Mapping[str, str], fail: Callable[[Exception], NoReturn], data: bytes | None = None
) -> Answer:
    """GET, or POST of ``data``, past any proxy on loopback; calls ``fail`` if nobody answers."""
    try:
        request = urllib.request.Request(url, data, headers=dict(headers))
        is_here = urlsplit(url).hostname in ("127.0.0.1", "localhost")
        handlers = [urllib.request.ProxyHandler({})] if is_here else []
        with urllib.request.build_opener(*handlers).open(request, timeout=ASK_TIMEOUT_S) as answer:
            return Answer(answer.status, answer.read().decode(errors="replace"))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, "")
    except (OSError, HTTPException, ValueError) as error:
        fail(error)


def _unwell(check: str, verdict: str, url: str, advice: str) -> Callable[[Exception], NoReturn]:
    """Ends a check whose server does not answer."""

    def fail(error: Exception) -> NoReturn:
        reason = getattr(error, "reason", None) or error
        raise Unwell(check, verdict, f"{url} does not answer ({' '.join(str(reason).split())})", advice)

    return fail


def _basic(auth: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(auth.encode()).decode()}
