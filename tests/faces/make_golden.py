"""Writes what this generator version draws: thumbnails (golden.json), truth and storage, and its first draws."""

import dataclasses
import hashlib
import json
from pathlib import Path

import torch

from fer_core.faces import CODES, camera, identity, render, scene, sets
from fer_core.faces.sets import GENERATOR_VERSION

generator = torch.Generator().manual_seed(123)
people, views = identity.sample(8, generator), scene.sample(8, generator)
units = torch.rand(8, len(CODES), generator=generator) ** 4
seen = render(units, people, views, 64, truth=True)
thumbnails = torch.nn.functional.avg_pool2d(seen.image, 8)
rounded = [[[[round(value, 4) for value in row] for row in plane] for plane in face] for face in thumbnails.tolist()]
content = {"generator": GENERATOR_VERSION, "thumbnails": rounded}
Path(__file__).with_name("golden.json").write_text(json.dumps(content) + "\n")

# Truth and what is stored: landmarks are whole thousandths, of maps every fourth pixel is kept, and of stored pictures
# how far they are from those that were rendered, in thousandths of a grey level: each, and in the mean of its pixels.
wide = render(units, people, dataclasses.replace(views, scale=0.6 * views.scale), 64, truth=True)  # necks, clothes
assert seen.landmarks is not None
assert seen.parsing is not None
assert wide.parsing is not None
away = camera.to_bytes(seen.image, views) - 255 * seen.image
truth = {
    "landmarks": (1000 * seen.landmarks).round().int().tolist(),
    "parsing": seen.parsing[:, ::4, ::4].tolist(),
    "wide": wide.parsing[:, ::4, ::4].tolist(),
    "away": (1000 * away.abs().mean((1, 2, 3))).round().int().tolist(),
    "mean": (1000 * away.mean((1, 2, 3))).round().int().tolist(),
}
content = {"generator": GENERATOR_VERSION, "truth": truth}
Path(__file__).with_name("golden_truth.json").write_text(json.dumps(content, separators=(",", ":")) + "\n")

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
