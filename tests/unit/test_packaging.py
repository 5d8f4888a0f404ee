"""The package installs, and never shadows the standard library's operator."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_operator_folder_is_no_regular_package() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists(), (
        "it would shadow the standard library's operator: docs/design/packaging.md"
    )


def test_no_module_of_the_operator_has_a_standard_library_name() -> None:
    modules = {path.stem for path in (ROOT / "operator").glob("*.py")}
    assert not modules & sys.stdlib_module_names


def test_pytest_runs_as_a_module_from_the_root() -> None:
    listed = run(
        *(
            sys.executable,
            "-m",
            "pytest",
            "--collect-only",
            "-q",
            "-p",
            "no:cacheprovider",
        ),
        "tests/unit/presets",
    )
    assert "test_catalogue.py" in listed


def test_the_wheel_installs_in_a_clean_environment_and_the_command_answers(
    tmp_path: Path,
) -> None:
    uv = Path(sys.executable).with_name("uv")
    run(uv, "build", "--wheel", "--quiet", "--out-dir", tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    environment = tmp_path / "venv"
    run(uv, "venv", "--quiet", "--python", sys.executable, environment)
    python = environment / "bin" / "python"
    locked = tmp_path / "constraints.txt"
    locked.write_text(
        run(uv, "export", "--frozen", "--no-dev", "--no-hashes", "--no-emit-project")
    )
    install = ("install", "--quiet", "--python", python, "--constraint", locked)
    run(uv, "pip", *install, wheel)
    answer = run(environment / "bin" / "pykaito", "--help", cwd=tmp_path)
    assert "operator" in answer
    code = (
        "import operator, pykaito.operator.client as c; print(operator.eq, c.__file__)"
    )
    assert "built-in function eq" in run(python, "-c", code, cwd=tmp_path)
    packages = run(uv, "pip", "list", "--python", python)
    assert "torch" not in packages
