"""Lists the recipe's keys that have been renamed: a user is told the new name, a stored recipe is translated."""

from typing import Any

from schemas.output_set.recipe_file import ensure_option_group

RENAMED_KEYS = {  # groups come before their keys, which are named as the renamed group has them
    "start": "init_from",
    "sequences": "global_batch_size",
    "micro": "micro_batch_size",
    "multipliers": "loss_weights",
    "optimiser": "optimizer",
    "optimizer.law": "optimizer.lr_rule",
    "optimizer.decay": "optimizer.weight_decay_on",
    "optimizer.clip": "optimizer.max_grad_norm",
    "schedule.warmup": "schedule.warmup_steps",
    "model.resampler": "model.connector",
    "data.system": "data.system_prompt",
    "data.window": "data.packing_window",
    "data.max_faults": "data.max_bad_samples",
    "run.patience": "run.timeout_seconds",
}


def rename_keys(values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Returns the recipe with the keys of today, and those that it had under an old name, as `old is now new`."""
    renamed, found = dict(values), []
    for old, new in RENAMED_KEYS.items():
        *groups, name = old.split(".")
        group: Any = renamed
        for part in groups:
            group = group.get(part) if isinstance(group, dict) else None
        if isinstance(group, dict) and name in group:
            group = ensure_option_group(renamed, old.split("."))  # a copy: the caller's values stay unchanged
            group[new.split(".")[-1]] = group.pop(name)
            found.append(f"{old} is now {new}")
    return renamed, found
