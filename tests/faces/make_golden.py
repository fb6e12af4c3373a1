"""Writes golden.json, thumbnails of this generator version's pictures, and golden_draws.json, its first draws."""

import hashlib
import json
from pathlib import Path

import torch

from fer_core.faces import CODES, identity, render, scene, sets
from fer_core.faces.sets import GENERATOR_VERSION

generator = torch.Generator().manual_seed(123)
people, views = identity.sample(8, generator), scene.sample(8, generator)
units = torch.rand(8, len(CODES), generator=generator) ** 4
thumbnails = torch.nn.functional.avg_pool2d(render(units, people, views, 64).image, 8)
rounded = [[[[round(value, 4) for value in row] for row in plane] for plane in face] for face in thumbnails.tolist()]
content = {"generator": GENERATOR_VERSION, "thumbnails": rounded}
Path(__file__).with_name("golden.json").write_text(json.dumps(content) + "\n")

# Stills, clips, and clips of sessions. Units and apex are whole thousandths; of a clip's frames every second is kept.
drawn = {name: sets.draw(name, "test", 16) for name in ("facs-still-8", "facs-clip-7", "facs-pain")}
told = {
    name: {
        "units": (1000 * (each.units if each.units.dim() == 2 else each.units[:, ::2])).round().int().tolist(),
        "apex": (1000 * each.apex).round().int().tolist(),
        "votes": each.votes.int().tolist(),
        "captions": hashlib.sha256("\n".join(each.caption).encode()).hexdigest(),
    }
    for name, each in drawn.items()
}
content = {"generator": GENERATOR_VERSION, "draws": told}
Path(__file__).with_name("golden_draws.json").write_text(json.dumps(content, separators=(",", ":")) + "\n")
