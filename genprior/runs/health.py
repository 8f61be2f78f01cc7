"""Examines an installation for `genprior doctor`: versions, devices, plugins and extras.

Each function imports what it needs when it runs, so that one that is broken does not hide the others.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from genprior.errors import in_a_sentence
from genprior.runs.findings import Check, Finding, State
from genprior.version import __version__

__all__ = ["CHECKS"]

_MISSING = "is not installed"


def _versions() -> Iterator[Finding]:
    """Python, genprior, and the packages that genprior requires with what each of them requires."""
    section = "versions"
    yield Finding(section, "Python", f"{platform.python_version()}, {sys.executable}")
    place = Path(__file__).parents[1]
    try:
        told = metadata.version("genprior")
        lines = metadata.requires("genprior") or []
    except metadata.PackageNotFoundError:
        text, advice = f"{__version__}, {place}; it is not installed as a package", "pip install genprior"
        yield Finding(section, "genprior", f"{text}, so no plugin is found", State.WRONG, advice)
        return
    if told == __version__:
        yield Finding(section, "genprior", f"{__version__}, {place}")
    else:
        text = f"{__version__}, {place}; the installed metadata says {told}"
        yield Finding(section, "genprior", text, State.WRONG, "install it again, from where this code comes")
    for requirement in _needed(lines):
        yield _package(section, requirement)


def _needed(lines: list[str], extra: str = "") -> Iterator[Requirement]:
    """The requirements that apply here: those of an extra alone, or those of the package without any."""
    for line in lines:
        requirement = Requirement(line)
        marker = requirement.marker
        always = marker is None or marker.evaluate({"extra": ""})
        if always if not extra else not always and marker is not None and marker.evaluate({"extra": extra}):
            yield requirement


def _package(section: str, requirement: Requirement) -> Finding:
    """Whether a required package is installed, in a version that fits, with what it requires itself."""
    name, install = requirement.name, f'pip install "{requirement.name}{requirement.specifier}"'
    wrong = _unmet(requirement)
    if wrong is not None:
        return Finding(section, name, wrong, State.WRONG, install)
    version = metadata.version(name)
    lines = metadata.requires(name) or []
    unmet = [f"{each.name} {text}" for each in _needed(lines) if (text := _unmet(each)) is not None]
    if unmet:
        text = f"{version}, whose requirements are not met: {'; '.join(unmet)}"
        return Finding(section, name, text, State.WRONG, f"pip install --upgrade {name}")
    return Finding(section, name, version)


def _unmet(requirement: Requirement) -> str | None:
    """What is wrong with a requirement; None if it is met."""
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return _MISSING
    fits = requirement.specifier.contains(version, prereleases=True)
    return None if fits else f"{version} is installed, and {requirement.specifier} is required"


# ---------------------------------------------------------------------------------------------------------------------
# Devices
# ---------------------------------------------------------------------------------------------------------------------


def _devices() -> Iterator[Finding]:
    """The processor with its threads, the GPUs, and the precision on what `--device auto` chooses."""
    import torch

    from genprior.engine.device import choose_device
    from genprior.engine.precision import choose_precision
    from genprior.runs.environment import cores, device_name

    section, cpu = "devices", torch.device("cpu")
    yield Finding(section, "processor", device_name(cpu))
    threads, usable = torch.get_num_threads(), cores()
    text = f"{threads} in torch, of {usable} cores that this process may use"
    named = os.environ.get("OMP_NUM_THREADS")
    text += f"; OMP_NUM_THREADS={named}" if named else ""
    if threads > usable:
        advice = f"more threads than cores are slow: set OMP_NUM_THREADS={usable}"
        yield Finding(section, "threads", text, State.NOTE, advice)
    else:
        yield Finding(section, "threads", text)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if available:
        for number in range(torch.cuda.device_count()):
            memory = torch.cuda.get_device_properties(number).total_memory / 2**30
            yield Finding(section, f"cuda:{number}", f"{torch.cuda.get_device_name(number)}, {memory:.0f} GiB")
        yield _mps(section)
    else:
        yield _no_gpu(section, torch.version.cuda, [in_a_sentence(each.message) for each in told])
    device = choose_device("auto")
    precision = "bf16" if choose_precision("auto", device).dtype == torch.bfloat16 else "fp32"
    yield Finding(section, "automatic", f'--device auto is {device.type}; run.precision = "auto" is {precision}')


def _mps(section: str) -> Finding:
    """Whether processes can use a GPU at the same time."""
    from genprior.runs.environment import MPS_CONTROL, mps_folder

    running, control = mps_folder(), shutil.which(MPS_CONTROL)
    if running is not None:
        return Finding(section, "MPS", f"a daemon runs in {running}; rows side by side share a GPU by it")
    if control is not None:
        return Finding(section, "MPS", f"{control}; rows side by side share a GPU by it")
    text = f"{MPS_CONTROL} is not on the PATH, so rows side by side take turns on a GPU"
    return Finding(section, "MPS", text, State.NOTE, "it comes with NVIDIA's driver; in a container, add its utilities")


def _no_gpu(section: str, built_for: str | None, reasons: list[str]) -> Finding:
    """Why torch has no GPU: there is none, or it cannot use the one that there is."""
    if not any(Path(path).exists() for path in ("/dev/nvidia0", "/proc/driver/nvidia/gpus")):
        return Finding(section, "GPU", "there is none; training runs on the processor")
    if built_for is None:
        text, advice = "there is one, and torch is built without CUDA", "install torch with CUDA: https://pytorch.org"
    else:
        text = f"there is one, and torch, built for CUDA {built_for}, cannot use it"
        advice = "check the driver with nvidia-smi, CUDA_VISIBLE_DEVICES, and that torch is built for a CUDA it has"
    return Finding(section, "GPU", f"{text}{''.join(f': {each}' for each in reasons[:1])}", State.WRONG, advice)


# ---------------------------------------------------------------------------------------------------------------------
# Plugins and extras
# ---------------------------------------------------------------------------------------------------------------------


def _plugins() -> Iterator[Finding]:
    """The plugins with their packages and parts, those that cannot be loaded, and parts that several offer."""
    from genprior.registry import installed

    section, registry = "plugins", installed()
    parts = [str(registry.origin(part)) for part in registry.all()]
    for origin in registry.plugins:
        count = parts.count(str(origin))
        yield Finding(section, origin.plugin, f"{origin.distribution}, {count} {'part' if count == 1 else 'parts'}")
    for broken in registry.broken:
        text = f"{broken.origin.distribution} cannot be loaded: {broken.reason}"
        advice = "update or uninstall that package; `genprior parts --verbose` shows the traceback"
        yield Finding(section, broken.origin.plugin, text, State.WRONG, advice)
    for kind, name in registry.clashes:
        text = registry.clash(kind, name)
        yield Finding(section, f"{kind} {name}", text, State.WRONG, "uninstall all but one of them")
    if not parts:
        text = "there is no part, not even a standard one, so nothing can be trained"
        yield Finding(section, "plugins", text, State.WRONG, "pip install --force-reinstall genprior")


def _extras() -> Iterator[Finding]:
    """The extras of genprior, and which of their packages are missing."""
    section = "extras"
    lines = metadata.requires("genprior") or []
    for extra in metadata.metadata("genprior").get_all("Provides-Extra") or []:
        needed = list(_needed(lines, extra))
        unmet = {each.name: text for each in needed if (text := _unmet(each)) is not None}
        if not unmet:
            yield Finding(section, extra, f"installed: {', '.join(each.name for each in needed)}")
            continue
        # A package that is missing is nothing wrong; one of a wrong version is loaded, and may fail.
        missing = [name for name, text in unmet.items() if text == _MISSING]
        others = [f"{name} {text}" for name, text in unmet.items() if text != _MISSING]
        text = "; ".join([*others, *([f"not installed: {', '.join(missing)}"] if missing else [])])
        state = State.WRONG if others else State.NOTE
        yield Finding(section, extra, text, state, f'if you want it: pip install "genprior[{extra}]"')


CHECKS: dict[str, Check] = {"versions": _versions, "devices": _devices, "plugins": _plugins, "extras": _extras}
"""The checks by section."""
