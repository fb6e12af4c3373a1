import dataclasses
import json
from pathlib import Path

import pytest
import torch
from pretended import pretended

from fer_core.errors import UserError
from fer_core.faces import CODES, PARSING, identity, intensities, render, scene
from fer_core.faces.camera import to_bytes
from fer_core.faces.canvas import EXTENT, Canvas
from fer_core.faces.landmarks import MIRROR
from fer_core.faces.pose import Pose
from fer_core.faces.scene import OCCLUSIONS


def wild(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    people, views = identity.sample(count, generator), scene.sample(count, generator)
    return torch.rand(count, len(CODES), generator=generator) ** 4, people, views


@pytest.mark.parametrize("size", [32, 64, 96, 512])
def test_sizes(size):
    units, people, views = wild(2)
    face = render(units, people, views, size, truth=True)
    assert face.image.shape == (2, 3, size, size)
    assert face.image.isfinite().all()
    assert face.image.min() >= 0
    assert face.image.max() <= 1
    assert face.landmarks.shape == (2, 68, 2)
    assert face.parsing.shape == (2, size, size)
    assert face.parsing.dtype == torch.uint8


@pytest.mark.parametrize("size", [16, 513])
def test_size_out_of_range(size):
    with pytest.raises(UserError, match=f"32 to 512 pixels, got {size}"):
        render(*wild(1), size)


def test_batches_of_different_length():
    units, people, views = wild(2)
    with pytest.raises(UserError, match="got 1, 2 and 2"):
        render(units[:1], people, views)


def test_a_face_does_not_depend_on_its_neighbours():
    units, people, views = wild(5)
    together = render(units, people, views, truth=True)
    for row in (0, 4):
        one = torch.tensor([row])
        alone = render(units[one], people.take(one), views.take(one), truth=True)
        torch.testing.assert_close(alone.image[0], together.image[row], atol=1e-5, rtol=0)
        torch.testing.assert_close(alone.landmarks[0], together.landmarks[row])
        assert (alone.parsing[0] == together.parsing[row]).float().mean() > 0.999


def test_larger_pictures_show_the_same_face():
    units, people, views = wild(6)
    views.noise.zero_()
    small = render(units, people, views, 64).image
    large = torch.nn.functional.avg_pool2d(render(units, people, views, 256).image, 4)
    # Soft edges are a pixel wide, so borders differ; the picture as a whole does not.
    assert (small - large).abs().mean() < 0.02


def test_intensities_identity_pose_and_light_get_gradients():
    units, people, views = wild(2)
    units = (0.2 + 0.5 * units).requires_grad_()
    people.form.requires_grad_()
    views.yaw.requires_grad_()
    views.light.requires_grad_()
    views.noise.zero_()
    target = torch.linspace(0, 1, 3 * 64 * 64).view(1, 3, 64, 64)
    (render(units, people, views).image - target).square().mean().backward()
    for leaf in (units, people.form, views.yaw, views.light):
        assert leaf.grad.isfinite().all()
        assert leaf.grad.abs().sum() > 0
    # Every unit that is not fully hidden moves the picture.
    assert (units.grad.abs().sum(0) > 0).float().mean() > 0.9


def test_gradient_agrees_with_finite_differences():
    people, views = identity.average(), scene.studio()
    direction = intensities({"AU1": 1.0, "AU15": 1.0})[None]

    def brightness(amount):
        return (
            (render(0.3 * direction + amount * direction, people, views).image * torch.arange(64)[:, None] / 64)
            .double()
            .mean()
        )

    amount = torch.tensor(0.0, requires_grad=True)
    brightness(amount).backward()
    step = 3e-3
    numeric = (brightness(torch.tensor(step)) - brightness(torch.tensor(-step))) / (2 * step)
    assert amount.grad.item() == pytest.approx(numeric.item(), rel=0.15)


def test_resting_face_adds_to_every_expression():
    people, views = identity.average(2), scene.studio(2)
    people.resting[1] = intensities({"AU4": 0.6})
    resting, posed = torch.zeros(2, len(CODES)), torch.zeros(2, len(CODES))
    posed[0] = intensities({"AU4": 0.6})
    faces = render(resting, people, views).image
    torch.testing.assert_close(faces[1], render(posed, people, views).image[0])
    assert not torch.allclose(faces[0], faces[1])


@pytest.mark.parametrize(("yaw", "pitch"), [(0.0, 0.0), (0.45, 0.0), (-0.5, 0.25), (0.72, -0.3)])
def test_unproject_inverts_project(yaw, pitch, neutral):
    views = scene.studio()
    views.yaw, views.pitch = torch.tensor([yaw]), torch.tensor([pitch])
    pose = Pose(views, neutral)
    # The inner face, where features are; its rim turns away.
    across, down = torch.meshgrid(torch.linspace(-0.5, 0.5, 21), torch.linspace(-0.6, 0.8, 21), indexing="xy")
    x, y = pose.project(across[None], down[None])
    (x_of_x, x_of_y), (y_of_x, y_of_y) = pose.upright(x, y)
    u, v = pose.unproject(x_of_x + x_of_y, y_of_x + y_of_y)
    assert (u[0] - across).abs().max() < 0.02
    assert (v[0] - down).abs().max() < 0.02


@pytest.mark.parametrize("seed", range(3))
def test_landmarks_lie_on_what_is_drawn(seed):
    units, people, views = wild(24, seed)
    units[:, CODES.index("AU43")] = units[:, CODES.index("AU46")] = 0
    people.glasses.zero_()
    views.occlusion.zero_()
    units = 0.3 * units
    size = 192
    face = render(units, people, views, size, truth=True)
    points = face.landmarks * size - 0.5

    def share_on(groups, names, reach=4):
        """How many centres of point groups have the named class within some pixels."""
        wanted = torch.tensor([PARSING.index(name) for name in names])
        hits = []
        for row in range(len(points)):
            for group in groups:
                x, y = points[row, group].mean(0).round().long().clamp(reach, size - 1 - reach).tolist()
                near = face.parsing[row, y - reach : y + reach + 1, x - reach : x + reach + 1]
                hits.append(torch.isin(near, wanted).any())
        return torch.stack(hits).float().mean()

    assert share_on([list(range(36, 42))], ["right eye"]) > 0.97
    assert share_on([list(range(42, 48))], ["left eye"]) > 0.97
    assert share_on([[19]], ["right brow", "hair"]) > 0.97
    assert share_on([[24]], ["left brow", "hair"]) > 0.97
    assert share_on([[48], [54]], ["upper lip", "lower lip", "mouth"]) > 0.97
    assert share_on([[30], [33]], ["nose"]) > 0.97
    assert share_on([[8]], ["skin", "neck"]) > 0.97


def test_mirrored_landmark_order_is_an_involution_that_mirrors_the_face(neutral, average):
    assert [MIRROR[MIRROR[point]] for point in range(68)] == list(range(68))
    people, views = average()
    points = render(neutral, people, views, truth=True).landmarks[0]
    mirrored = points[list(MIRROR)]
    torch.testing.assert_close(mirrored[:, 0], 1 - points[:, 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(mirrored[:, 1], points[:, 1], atol=1e-5, rtol=0)


def test_occlusion_hides_what_lies_below():
    people, views = identity.average(2), scene.studio(2)
    views.occlusion += OCCLUSIONS.index("mask")
    smile = intensities({"AU12": 1.0, "AU25": 1.0})[None].expand(2, -1).clone()
    smile[1] = 0
    faces = render(smile, people, views, 96, truth=True)
    mouth = faces.landmarks[0, 48:68].mul(96).long()
    difference = (faces.image[0] - faces.image[1]).abs().amax(0)
    assert difference[mouth[:, 1], mouth[:, 0]].max() < 0.02
    assert (faces.parsing[0, mouth[:, 1], mouth[:, 0]] == PARSING.index("occlusion")).all()


def test_noise_depends_on_the_seed_alone():
    units, people, views = wild(3)
    views.noise += 0.1
    picture = render(units, people, views).image
    again = render(units, people, views).image
    assert torch.equal(picture, again)
    views.seed = views.seed + 1
    assert not torch.equal(picture, render(units, people, views).image)


def test_memory_is_used_again_only_where_nothing_can_tell():
    units, people, views = wild(12)
    views.grey[::3], views.blur[::4], views.noise[::2] = 0.7, 0.02, 0.1
    views.occlusion[::5] = OCCLUSIONS.index("hand")
    kept = render(units, people, views, truth=True)
    with torch.inference_mode():
        again = render(units, people, views, truth=True)
    assert torch.equal(again.image, kept.image)
    assert torch.equal(again.parsing, kept.parsing)


def test_odd_canvas_is_refused():
    with pytest.raises(ValueError, match="even number, got 65"):
        Canvas(1, 65, torch.device("cpu"))


def test_pictures_are_those_of_this_generator_version():
    """A change of any picture must raise GENERATOR_VERSION: caches and records are keyed by it."""
    from fer_core.faces.sets import GENERATOR_VERSION

    golden = json.loads((Path(__file__).parent / "golden.json").read_text())
    assert golden["generator"] == GENERATOR_VERSION, "write golden.json anew: python tests/faces/make_golden.py"
    units, people, views = wild(8, seed=123)
    thumbnails = torch.nn.functional.avg_pool2d(render(units, people, views, 64).image, 8)
    torch.testing.assert_close(thumbnails, torch.tensor(golden["thumbnails"]), atol=2e-3, rtol=0)


def test_truth_and_stored_pictures_are_those_of_this_generator_version():
    from fer_core.faces.sets import GENERATOR_VERSION

    golden = json.loads((Path(__file__).parent / "golden_truth.json").read_text())
    assert golden["generator"] == GENERATOR_VERSION, "write it anew: python tests/faces/make_golden.py"
    units, people, views = wild(8, seed=123)
    seen = render(units, people, views, 64, truth=True)
    known = {name: torch.tensor(values) for name, values in golden["truth"].items()}
    torch.testing.assert_close(1000 * seen.landmarks, known["landmarks"].float(), atol=1.0, rtol=0)
    wide = render(units, people, dataclasses.replace(views, scale=0.6 * views.scale), 64, truth=True)  # necks, clothes
    for parsing, name in ((seen.parsing, "parsing"), (wide.parsing, "wide")):
        assert (parsing[:, ::4, ::4] == known[name]).float().mean() > 0.995
    away = 1000 * (to_bytes(seen.image, views) - 255 * seen.image)  # libraries of JPEG differ a little
    torch.testing.assert_close(away.abs().mean((1, 2, 3)), known["away"].float(), atol=20.0, rtol=0.05)
    torch.testing.assert_close(away.mean((1, 2, 3)), known["mean"].float(), atol=100.0, rtol=0)


@pytest.mark.slow
def test_compiled_equals_eager():
    units, people, views = wild(4)
    eager = render(units, people, views, truth=True)
    fast = render(units, people, views, truth=True, compiled=True)
    torch.testing.assert_close(fast.image, eager.image, atol=2e-4, rtol=0)
    assert (fast.parsing == eager.parsing).float().mean() > 0.999


@pytest.mark.gpu
def test_gpu_equals_cpu():
    units, people, views = wild(8)
    cpu = render(units, people, views).image
    gpu = render(units.cuda(), people.to("cuda"), views.to("cuda")).image
    torch.testing.assert_close(gpu.cpu(), cpu, atol=2e-3, rtol=0)


def test_elsewhere_equals_cpu():
    units, people, views = wild(4)
    cpu = render(units, people, views, 32, truth=True)
    with pretended() as device:
        there = render(units.to(device), people.to(device), views.to(device), 32, truth=True)
    for part, value in vars(cpu).items():
        torch.testing.assert_close(getattr(there, part).inner, value)


def test_canvas_spans_the_picture(neutral, average):
    people, views = average()
    points = render(neutral, people, views, truth=True).landmarks[0]
    chin = points[8, 1] * 2 * EXTENT - EXTENT
    assert 0.9 < chin < 1.05
