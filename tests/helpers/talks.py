"""What processes tell each other when one of them fails; as a script, each writes what it came to into a folder."""

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from toy import TRAIN, Tower

from fer_core.data import Transform, cache
from fer_core.engine import Processes
from fer_core.engine.processes import clip_gradients, spread
from fer_core.engine.sources import Pixels, encoded
from fer_core.errors import NoRoomError, UserError


def main() -> None:
    """Goes through all cases, in the same order in each process."""
    processes = Processes(torch.device("cpu"))
    told: dict[str, Any] = {}

    def failing(error: Exception) -> str:
        """The main process' turn fails with an error; gives what comes out, and whether the block ran."""
        ran = False
        try:
            with processes.main_first():
                ran = True
                if processes.main:
                    raise error
        except (UserError, RuntimeError, OSError) as found:
            return f"{type(found).__name__} {ran}: {found}"
        return f"nothing {ran}"

    def source_where(fails: Callable[[], bool], kind: type[UserError] = NoRoomError) -> str:
        """What stands for a split whose features find no room, or else fail, in some processes."""
        own = cache.built_array

        def built(*args: Any) -> Any:
            if fails():
                raise kind(f"process {processes.index}")
            return own(*args)

        cache.built_array = built
        try:
            pixels = Pixels(TRAIN, Transform(8, Tower.mean, Tower.std), 16, 0, processes)
            return type(encoded(pixels, Tower(), False, "fp32")).__name__
        except UserError as error:
            return f"{type(error).__name__}: {error}"
        finally:
            cache.built_array = own

    def spread_out() -> dict[str, Any]:
        """A module of three weights and a number, spread."""
        module = torch.nn.Linear(3, 1, bias=False)
        module.scale = torch.nn.Parameter(torch.tensor(2.0))
        module.weight.data = torch.tensor([[3.0], [4.0], [0.0]])
        processes.shard(module, list(module.parameters()))
        weight, scale = module.weight, module.scale
        seen: dict[str, Any] = {"kinds": [type(each).__name__ for each in (weight, scale)]}
        for changed in (False, True):
            with processes.gathered(module, changed), torch.no_grad():
                module.state_dict()  # which FSDP's own way would not survive
                module.weight += 1
            seen[f"changed {changed}"] = processes.whole({"weight": module.weight})["weight"].flatten().tolist()
        # One process has no gradient of the number: the mean is half of the other's.
        scale.grad = torch.tensor(24.0) if processes.main else None
        processes.average_gradients([scale])
        weight.grad = spread(torch.tensor([[3.0], [4.0], [0.0]]), weight)
        clip_gradients([weight, scale], 6.5, processes)  # of a norm of 13
        whole = processes.whole({"weight": weight.grad})["weight"].flatten()
        seen["clipped"] = [round(value, 4) for value in [*whole.tolist(), scale.grad.item()]]
        scale.grad = None
        processes.average_gradients([scale])
        seen["none"] = scale.grad is None
        return seen

    told["spread"] = spread_out()
    told["user"] = failing(UserError("the disk is full"))
    told["other"] = failing(OSError("gone"))
    told["full"] = [source_where(lambda place=place: processes.index == place) for place in range(processes.count)]
    told["damaged"] = [
        source_where(lambda place=place: processes.index == place, UserError) for place in range(processes.count)
    ]
    told["room"] = source_where(lambda: False)
    # After all of it they still do the same: a sum says so.
    told["sum"] = processes.sum(torch.ones(())).item()
    group = torch.distributed.distributed_c10d._get_default_group()._get_backend(processes.device)
    told["patient"] = group.options._timeout >= timedelta(days=1)
    (Path(sys.argv[1]) / f"{processes.index}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main()
