"""Let the registry's CUDA build of torch run on a machine without a GPU.

That build links some 4 GB of NVIDIA libraries that a CPU never calls, yet the
dynamic loader wants every one of them. This script puts a library in the place
of each missing one that defines the symbols torch asks for, so that it loads;
a call into one of them ends the process, as it should: nothing here computes.

Usage: ``python hack/cpu_torch.py SITE_PACKAGES``. Run again, it does nothing.
It is for the local cluster and the tests; model images for GPUs take torch as
it is published.
"""

import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

#: Libraries that are loaded lazily and only by a GPU: absent is right.
LAZY = {"libcuda.so.1"}

#: Symbols without a version node, by the prefix that says whose they are.
UNVERSIONED = {"libnccl.so.2": "nccl", "libcufile.so.0": "cuFile"}
UNVERSIONED |= {"libcusparseLt.so.0": "cusparseLt", "libcurand.so.10": "curand"}


def readelf(*args: str) -> str:
    """Return what ``readelf --wide`` prints for the arguments."""
    command = ["readelf", "--wide", *args]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def missing_libraries(torch_lib: Path, provided: set[str]) -> set[str]:
    """Name the CUDA libraries that torch links and nothing provides."""
    needed: set[str] = set()
    for library in torch_lib.glob("*.so*"):
        needed |= set(re.findall(r"NEEDED.*\[(.*)\]", readelf("-d", str(library))))
    cuda = {name for name in needed if re.match(r"lib(cu|nv|nccl)", name)}
    return cuda - provided - LAZY


def wanted_symbols(torch_lib: Path) -> dict[str, dict[str, set[str]]]:
    """Map library, then version node ("" for none), to the symbols torch wants."""
    wanted: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for library in torch_lib.glob("*.so*"):
        provider_of_version: dict[str, str] = {}
        provider = ""
        for line in readelf("-V", str(library)).splitlines():
            if found := re.search(r"File: (\S+)", line):
                provider = found[1]
            elif (found := re.search(r"Name: (\S+)\s+Flags", line)) and provider:
                provider_of_version[found[1]] = provider
        for line in readelf("--dyn-syms", str(library)).splitlines():
            undefined = re.search(r"GLOBAL\s+\S+\s+UND\s+(\w+)(?:@+([\w.]+))?", line)
            if undefined is None:
                continue
            symbol, version = undefined[1], undefined[2] or ""
            if version:
                wanted[provider_of_version.get(version, "")][version].add(symbol)
                continue
            for owner, prefix in UNVERSIONED.items():
                if symbol.startswith(prefix):
                    wanted[owner][""].add(symbol)
    return wanted


def write_placeholder(target: Path, versions: dict[str, set[str]]) -> None:
    """Compile a shared library that defines the symbols and does nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "placeholder.c")
        symbols = sorted({name for names in versions.values() for name in names})
        body = (f"void {name}(void) {{ __builtin_trap(); }}\n" for name in symbols)
        source.write_text("".join(body) or "extern int placeholder;\n")
        command = ["gcc", "-shared", "-fPIC", "-w", str(source), "-o", str(target)]
        command.append(f"-Wl,-soname,{target.name}")
        nodes = {node: names for node, names in versions.items() if node}
        if nodes:
            script = Path(scratch, "placeholder.map")
            script.write_text(
                "".join(
                    f"{node} {{ global: {'; '.join(sorted(names))}; }};\n"
                    for node, names in nodes.items()
                )
            )
            command.append(f"-Wl,--version-script={script}")
        subprocess.run(command, check=True)


def main() -> None:
    """Write the placeholders that the given site-packages folder lacks."""
    site_packages = Path(sys.argv[1])
    torch_lib = site_packages / "torch" / "lib"
    provided = {path.name for path in torch_lib.glob("*.so*")}
    provided |= {path.name for path in site_packages.glob("nvidia/*/lib/*.so*")}
    missing = missing_libraries(torch_lib, provided)
    if not missing:
        return
    wanted = wanted_symbols(torch_lib)
    # torch's RUNPATH looks here for every library of CUDA 13.
    target = site_packages / "nvidia" / "cu13" / "lib"
    target.mkdir(parents=True, exist_ok=True)
    for name in sorted(missing):
        write_placeholder(target / name, wanted.get(name, {}))
    print(f"torch runs on the CPU: {len(missing)} CUDA libraries have placeholders")


if __name__ == "__main__":
    main()
