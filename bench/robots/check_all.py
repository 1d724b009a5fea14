"""Runs `cargo xtask check-robot` on public robot description files and writes docs/robots.md.

    python3 bench/robots/check_all.py --venv FOLDER      # creates it where it is missing
    python3 bench/robots/check_all.py --python FOLDER/bin/python

The files are those of the packages in requirements.txt; none of the packages is imported. Build the
command line first: `cargo build --release -p xtask`.
"""

import argparse
import json
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# What the packages are called, and where their files lie below site-packages.
SOURCES = {
    "example-robot-data": ("cmeel.prefix/share/example-robot-data/robots", "*.urdf"),
    "gymnasium": ("gymnasium/envs/mujoco/assets", "*.xml"),
}
# Beginnings of paths of URDF files whose robots stand, fly or drive free of the ground. MJCF files
# bring a free joint of their own.
MOBILE = (
    "a1_", "alex_", "alexander_", "anymal_", "b1_", "bolt_", "borinot_", "centauro_", "g1_", "go1_",
    "go2_", "hector_", "hextilt_", "human_", "hyq_", "icub_", "iris_", "laikago_", "pr2_",
    "quadruped_", "romeo_", "simple_humanoid_", "solo_", "talos_", "tiago_",
)  # fmt: skip
FIXED = ("talos_data/robots/talos_left_arm.urdf",)
# Why audits fail; printed below the table where they do.
REASONS = {
    "icub_description/robots/icub.urdf": (
        "The head is a point mass without inertia on a neck of three joints whose links have none "
        "either, so the mass matrix is almost singular (condition 1e8 with ones on its diagonal). "
        "`icub_reduced.urdf` fixes the neck."
    ),
    "iris_description/robots/iris.urdf": (
        "The limits of the rotors' joints are ±1e16 rad. Random angles within them are so large "
        "that the step of a difference is lost in rounding; all identities hold to 1e-12."
    ),
    "romeo_description/urdf/romeo_laas_small.urdf": (
        "The links of the grippers have neither mass nor inertia."
    ),
}
# Seconds for one file; the largest robot (107 degrees of freedom) needs about 3.
TIME_LIMIT = 300
MESSAGE_LENGTH = 140


@dataclass
class Row:
    """What there is to say about one file."""

    file: str
    floating: bool
    # None where the file does not load.
    sheet: dict | None
    # What the command printed on standard error, on one line; empty if it succeeded.
    message: str
    # Whether a file that does not load does so with --allow-unsupported.
    allowed: bool = False

    @property
    def error(self) -> float | None:
        """The worst error of the audit; None without an audit or if an error is not finite."""
        audit = self.sheet and self.sheet["audit"]
        if not audit or any(row["error"] is None for row in audit["rows"]):
            return None
        return max(row["error"] for row in audit["rows"])

    @property
    def passed(self) -> bool:
        """Whether the robot moves and all its derivatives are within bounds."""
        return bool(self.sheet and self.sheet["audit"] and self.sheet["audit"]["passed"])

    def cells(self) -> list[str]:
        """The row of the table."""
        base = "free" if self.floating else "file"
        if self.sheet is None:
            verdict = f"no: {self.message}"
            if self.allowed:
                verdict += " (left out with `--allow-unsupported`)"
            return [f"`{self.file}`", base, "", "", "", "", "", verdict]
        moving = sum(joint["kind"] != "fixed" for joint in self.sheet["joints"])
        audit = self.sheet["audit"]
        if self.passed:
            verdict = "yes"
        elif self.sheet["nv"] == 0:
            verdict = "yes, nothing moves"
        elif audit:
            worst = max(audit["rows"], key=lambda row: (row["error"] is None, row["error"]))
            verdict = f"yes, but the audit fails: {worst['check']}"
        else:
            verdict = f"yes, but no audit: {self.message}"
        return [
            f"`{self.file}`",
            base,
            str(moving),
            str(self.sheet["nv"]),
            f"{self.sheet['total_mass']:.4g}",
            str(len(self.sheet["warnings"])),
            f"{self.error:.0e}" if self.error is not None else "",
            verdict,
        ]


def shorten(message: str, path: Path) -> str:
    """One line without the folder, the advice after the last semicolon and what is too long."""
    lines = [line.strip().removeprefix("error: ") for line in message.splitlines() if line.strip()]
    text = ": ".join(line.removeprefix("caused by: ") for line in lines)
    text = text.replace(str(path), path.name).removeprefix(f"{path.name}:")
    if text[:1].isdigit():
        text = f"line {text}"
    text = text.split("; ")[0].replace("|", "\\|")
    if len(text) > MESSAGE_LENGTH:
        text = f"{text[: MESSAGE_LENGTH - 1].rstrip()}…"
    return text


def check(binary: Path, folder: Path, path: Path, points: int) -> Row:
    """Runs the command on one file."""
    file = path.relative_to(folder).as_posix()
    floating = file.startswith(MOBILE) and file not in FIXED and path.suffix == ".urdf"
    command = [binary, "check-robot", path, "--json", "--points", str(points)]
    if floating:
        command.append("--floating-base")
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired:
        return Row(file, floating, None, f"no answer within {TIME_LIMIT} s")
    if run.returncode not in (0, 1):
        sys.exit(f"{' '.join(map(str, command))} failed: {run.stderr.strip()}")
    sheet = json.loads(run.stdout) if run.stdout else None
    if run.returncode == 0 and sheet is None:
        sys.exit(f"{' '.join(map(str, command))} printed nothing")
    message = sheet["audit_error"] if sheet and sheet["audit_error"] else run.stderr
    allowed = False
    if sheet is None:
        more = [*command, "--allow-unsupported"]
        allowed = bool(subprocess.run(more, capture_output=True, timeout=TIME_LIMIT).stdout)
    return Row(file, floating, sheet, shorten(message, path), allowed)


def table(rows: list[Row]) -> list[str]:
    """The rows as a table in Markdown."""
    head = ["file", "base", "joints", "dofs", "mass [kg]", "warnings", "worst error", "loads"]
    lines = [f"| {' | '.join(head)} |", "|---|---|---:|---:|---:|---:|---:|---|"]
    return lines + [f"| {' | '.join(row.cells())} |" for row in rows]


def reasons(rows: list[Row]) -> list[str]:
    """Why audits failed, where that is known."""
    known = [row.file for row in rows if row.sheet and not row.passed and row.file in REASONS]
    return [""] + [f"- `{file}`: {REASONS[file]}" for file in known] if known else []


def count(rows: list[Row]) -> str:
    """How many files load, and what became of the audit."""
    loaded = [row for row in rows if row.sheet]
    passed = sum(row.passed for row in loaded)
    still = sum(row.sheet["nv"] == 0 for row in loaded)
    text = f"{len(loaded)} of {len(rows)} files load, {passed} of them pass the audit"
    return f"{text}; {still} have no joint that moves." if still else f"{text}."


def page(sections: dict[str, tuple[str, list[Row]]], points: int) -> str:
    """The whole of docs/robots.md."""
    lines = [
        "# Robots from public files",
        "",
        "Which public robot description files load, and how exact the derivatives of their",
        "dynamics are. Written by `bench/robots/check_all.py` ([how to run it](../bench/robots/README.md));",
        "changes by hand are lost. [Rigid bodies](methods/rigid-bodies.md) describes the methods.",
        "",
        "- **base**: `free` where a free joint is put before the root (`--floating-base`),",
        "  otherwise as the file says.",
        "- **joints**: of the file, those that are not fixed; **dofs**: with the free base.",
        "- **warnings**: `cargo xtask check-robot FILE` lists them with their lines.",
        f"- **worst error**: of all checks of the audit at {points} random states, relative to the",
        "  largest entry (at least 1): forward against inverse dynamics, the mass matrix, and",
        "  analytic derivatives against identities and extrapolated central differences. Above",
        "  1e-6 the audit fails. Mostly this is the error of the differences, which grows where",
        "  links are light; the identities of derivatives hold more exactly.",
        "- **loads**: the loader's message, shortened, where it refuses. What would change the",
        "  motion and is not modelled is refused rather than left out.",
    ]
    for package, (version, rows) in sections.items():
        lines += ["", f"## {package} {version}", "", count(rows), "", *table(rows), *reasons(rows)]
    return "\n".join(lines) + "\n"


def create(folder: Path) -> Path:
    """Creates a virtual environment with the packages, where it is missing; returns its python."""
    scripts = "Scripts" if sys.platform == "win32" else "bin"
    python = folder / scripts / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, "--no-deps", "-r", HERE / "requirements.txt"], check=True)
    return python


def locate(python: Path) -> tuple[Path, dict[str, str]]:
    """The folder of packages of an environment, and the versions of ours."""
    code = (
        "import json, sys, sysconfig; from importlib.metadata import version; "
        "print(json.dumps([sysconfig.get_path('purelib'), {p: version(p) for p in sys.argv[1:]}]))"
    )
    command = [python, "-c", code, *SOURCES]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{python} lacks a package of requirements.txt: {run.stderr.strip()}")
    folder, versions = json.loads(run.stdout)
    return Path(folder), versions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--venv", type=Path, help="environment, created where it is missing")
    where.add_argument("--python", type=Path, help="interpreter of an environment that exists")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/xtask")
    parser.add_argument("--points", type=int, default=50, help="random states of an audit")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/robots.md")
    args = parser.parse_args()
    if not args.binary.exists():
        sys.exit(f"{args.binary} is missing; build it with `cargo build --release -p xtask`")
    packages, versions = locate(create(args.venv) if args.venv else args.python)
    sections = {}
    for package, (below, pattern) in SOURCES.items():
        folder = packages / below
        files = sorted(folder.rglob(pattern))
        if not files:
            sys.exit(f"there is no {pattern} in {folder}")
        rows = [check(args.binary, folder, path, args.points) for path in files]
        sections[package] = (versions[package], rows)
        print(f"{package}: {count(rows)}")
    args.output.write_text(page(sections, args.points), encoding="utf-8")


if __name__ == "__main__":
    main()
