"""Writes golden.json: coarse thumbnails of this generator version's pictures."""

import json
from pathlib import Path

import torch

from fer_core.faces import CODES, identity, render, scene
from fer_core.faces.sets import GENERATOR_VERSION

generator = torch.Generator().manual_seed(123)
people, views = identity.sample(8, generator), scene.sample(8, generator)
units = torch.rand(8, len(CODES), generator=generator) ** 4
thumbnails = torch.nn.functional.avg_pool2d(render(units, people, views, 64).image, 8)
rounded = [[[[round(value, 4) for value in row] for row in plane] for plane in face] for face in thumbnails.tolist()]
content = {"generator": GENERATOR_VERSION, "thumbnails": rounded}
Path(__file__).with_name("golden.json").write_text(json.dumps(content) + "\n")
