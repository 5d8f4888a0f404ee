"""`python -m hack.bench`: every benchmark, each as a ratio against a named baseline."""

import sys

from hack.bench import (
    gpu_throughput,
    operator_memory,
    plan_cpu,
    transformers_throughput,
)


def main() -> int:
    """Run the benchmarks; return the exit status."""
    plan_cpu.run()
    operator_memory.run()
    transformers_throughput.run()
    gpu_throughput.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
