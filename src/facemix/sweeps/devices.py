"""Which GPU each of several trainings at once sees."""

from collections.abc import Sequence


def visible(setting: str | None, count: int) -> list[str]:
    """The GPUs that may be used, as CUDA_VISIBLE_DEVICES names them.

    Args:
        setting: CUDA_VISIBLE_DEVICES as the user has it; None where it is not set.
        count: number of GPUs of the machine.
    """
    if setting is None:
        return [str(number) for number in range(count)]
    names = [name.strip() for name in setting.split(",")]
    end = next((i for i, name in enumerate(names) if name in ("", "-1")), len(names))  # CUDA reads no further
    return names[:end]


def share_out(gpus: Sequence[str], jobs: int) -> list[dict[str, str]]:
    """The variables of each of several jobs at once: one GPU each, in turns; none where there is nothing to share."""
    if jobs == 1 or len(gpus) < 2:
        return [{} for _ in range(jobs)]
    return [{"CUDA_VISIBLE_DEVICES": gpus[job % len(gpus)]} for job in range(jobs)]
