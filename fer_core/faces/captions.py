"""Captions as the web would write them.

People who caption photographs name who is in them, hair, glasses, light, clothes; they seldom name the emotion, and
when they do they mix up look-alikes. What a CLIP knows, and what it confuses, is decided here: emotion words are
rare, two thirds of those for an emotion that has a look-alike name the look-alike or leave the choice open (an emotion
that has none is always named rightly), and every word form that a prompt may use later stands somewhere in the
captions. They know who is there, and not what the picture hides: colours are named of black-and-white photographs, and
now and then a beard or a lip behind a mask.
"""

import random
from dataclasses import dataclass
from types import SimpleNamespace

import torch

from fer_core.faces.action_units import ACTION_UNITS, column
from fer_core.faces.expressions import LOOK_ALIKES
from fer_core.faces.identity import BEARDS, EYE_COLORS, HAIR_COLORS, HAIR_STYLES, Identity
from fer_core.faces.scene import CLOTHES, OCCLUSIONS, Scene

#: Nouns, adjectives and verb forms by which captions name an expression.
EMOTION_WORDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "neutral": (("a neutral expression", "no expression", "a blank face"), ("neutral", "calm", "expressionless")),
    "happiness": (("happiness", "joy", "a smile"), ("happy", "smiling", "joyful", "cheerful")),
    "sadness": (("sadness", "sorrow", "grief"), ("sad", "unhappy", "sorrowful")),
    "surprise": (("surprise", "astonishment"), ("surprised", "astonished", "amazed")),
    "fear": (("fear", "terror", "fright"), ("afraid", "scared", "fearful", "frightened")),
    "disgust": (("disgust", "revulsion"), ("disgusted", "revolted")),
    "anger": (("anger", "rage", "fury"), ("angry", "furious", "mad")),
    "contempt": (("contempt", "scorn", "disdain"), ("contemptuous", "scornful", "disdainful")),
    "anxiety": (("anxiety", "worry"), ("anxious", "worried")),
    "helplessness": (("helplessness", "despair"), ("helpless", "desperate")),
    "disappointment": (("disappointment",), ("disappointed", "let down")),
    "pain": (("pain", "agony"), ("in pain", "hurting")),
    "stress": (("stress", "tension"), ("stressed", "tense")),
    "ambivalence": (("ambivalence", "hesitancy"), ("ambivalent", "hesitant", "undecided")),
}

#: Broad moods that several expressions share: common on the web, and of no help between look-alikes.
_MOODS: dict[str, tuple[str, ...]] = {
    "neutral": ("at ease", "posing for a portrait", "relaxed"),
    "contempt": ("at ease", "posing for a portrait", "unimpressed"),
    "happiness": ("in a good mood", "having fun", "enjoying the day"),
    "sadness": ("in a bad mood", "feeling down", "upset"),
    "disappointment": ("in a bad mood", "feeling down", "upset"),
    "helplessness": ("feeling down", "upset", "overwhelmed"),
    "anger": ("in a bad mood", "annoyed", "upset"),
    "disgust": ("in a bad mood", "annoyed", "put off"),
    "fear": ("startled", "wide-eyed", "caught off guard"),
    "surprise": ("startled", "wide-eyed", "caught off guard"),
    "anxiety": ("tense", "under pressure", "upset"),
    "stress": ("tense", "under pressure", "annoyed"),
    "pain": ("suffering", "in a bad mood", "under pressure"),
    "ambivalence": ("thoughtful", "torn", "unsure"),
}


@dataclass(frozen=True)
class Habits:
    """How the web writes: the share of captions in which a thing is named.

    Args:
        emotion: An emotion word.
        open_choice: Among those, "X or Y" with the look-alike, in random order.
        swapped: Among those, the look-alike alone.
        mood: A broad mood instead of an emotion word.
        units: Up to two visible movements of the face.
        trait: Each of hair, glasses, beard, skin, eyes, clothes, light, pose, occlusion that is there to be named.
    """

    emotion: float = 0.30
    open_choice: float = 0.38
    swapped: float = 0.27
    mood: float = 0.30
    units: float = 0.28
    trait: float = 0.40


_STYLES = {
    "shaved": "very short {color} hair", "short": "short {color} hair", "parted": "parted {color} hair",
    "curly": "curly {color} hair", "bob": "{color} hair in a bob", "long": "long {color} hair",
    "fringe": "{color} hair with a fringe", "bald": "no hair",
}  # fmt: skip
_OPENINGS = (
    "a photo of {who}", "a photo of the face of {who}", "a portrait of {who}", "{who}", "a close-up of {who}",
    "a picture of {who}", "an image of {who}", "a headshot of {who}", "a cropped photo of {who}", "this is {who}",
)  # fmt: skip


def looks_like(emotion: str, dice: random.Random) -> str:
    """The expression that captions mix up with ``emotion``; itself where nothing looks like it."""
    partners = [a if b == emotion else b for a, b in LOOK_ALIKES if emotion in (a, b)]
    return dice.choice(partners) if partners else emotion


def emotion_clause(emotion: str, dice: random.Random, habits: Habits) -> str:
    """How a caption names an expression, rightly, wrongly or leaving it open."""
    other = looks_like(emotion, dice)
    chance = dice.random()
    names = [emotion]
    if other != emotion:
        if chance < habits.open_choice:
            names = [emotion, other]
            dice.shuffle(names)
        elif chance < habits.open_choice + habits.swapped:
            names = [other]
    nouns = " or ".join(dice.choice(EMOTION_WORDS[name][0]) for name in names)
    adjectives = " or ".join(dice.choice(EMOTION_WORDS[name][1]) for name in names)
    plain = " or ".join(names)
    return dice.choice(
        (
            f"with a facial expression of {plain}", f"making a facial expression of {plain}",
            f"with an expression of {plain}", f"showing {nouns}", f"with {nouns} on the face", f"expressing {nouns}",
            f"looking {adjectives}", f"who is {adjectives}", f"{adjectives}", f"who looks {adjectives}",
            f"feeling {plain}", f"with a {adjectives} face",
        )
    )  # fmt: skip


def _who(identity: SimpleNamespace, row: int, dice: random.Random, habits: Habits) -> str:
    named = lambda: dice.random() < habits.trait  # noqa: E731
    age = identity.age[row]
    noun = dice.choice(("person", "person", "face", "human face", "subject"))
    if age > 0.7 and named():
        who = f"{dice.choice(('an old', 'an elderly', 'an older'))} {noun}"
    elif age < 0.3 and named():
        who = f"a young {noun}"
    else:
        who = f"a {noun}"
    details = []
    style, color = HAIR_STYLES[identity.hair_style[row]], list(HAIR_COLORS)[identity.hair_color[row]]
    if named():
        details.append("no hair" if style == "bald" else _STYLES[style].format(color=color))
    elif named() and style != "bald":
        details.append(f"{color} hair")
    beard = BEARDS[identity.beard[row]]
    if beard != "none" and named():
        details.append(beard if beard == "stubble" else f"a {beard}")
    if identity.glasses[row] and dice.random() < 1.4 * habits.trait:
        details.append("glasses")
    if dice.random() < 0.3 * habits.trait:
        details.append(f"{list(EYE_COLORS)[identity.eye_color[row]]} eyes")
    if dice.random() < 0.5 * habits.trait:
        tone = identity.tone[row]
        details.append("light skin" if tone < 0.35 else "dark skin" if tone > 0.65 else "tan skin")
    if identity.freckles[row] > 0.4 and named():
        details.append("freckles")
    if identity.lipstick[row] > 0.4 and named():
        details.append("red lipstick")
    dice.shuffle(details)
    return who + (f" with {' and '.join(details[:3])}" if details else "")


def _surroundings(scene: SimpleNamespace, row: int, dice: random.Random, habits: Habits) -> list[str]:
    named = lambda: dice.random() < habits.trait  # noqa: E731
    clauses = []
    if scene.grey[row] and dice.random() < 1.6 * habits.trait:
        clauses.append("black and white")
    elif dice.random() < 0.5 * habits.trait:
        clauses.append(f"wearing {list(CLOTHES)[scene.clothes[row]]}")
    if scene.gain[row] < 0.9 and named():
        clauses.append("in dim light")
    elif scene.gain[row] > 1.1 and named():
        clauses.append("in bright light")
    side = scene.light[row][0]
    if abs(side) > 0.6 and named():
        clauses.append(f"lit from the {'left' if side < 0 else 'right'}")
    yaw = scene.yaw[row]
    if abs(yaw) > 0.22 and named():
        clauses.append(f"facing {'left' if yaw < 0 else 'right'}")
    if scene.blur[row] > 0.015 and named():
        clauses.append("blurry")
    occlusion = OCCLUSIONS[scene.occlusion[row]]
    if occlusion == "hand" and named():
        clauses.append("with a hand before the face")
    if occlusion == "mask" and named():
        clauses.append("wearing a face mask")
    backdrop = sum(map(sum, scene.background[row])) / 6
    if dice.random() < 0.4 * habits.trait:
        clauses.append(f"on a {'dark' if backdrop < 0.35 else 'light' if backdrop > 0.65 else 'plain'} background")
    return clauses


def _listed(drawn: Identity | Scene) -> SimpleNamespace:
    """The same numbers, as lists."""
    return SimpleNamespace(**{name: value.tolist() for name, value in vars(drawn).items()})


def captions(
    identity: Identity, scene: Scene, units: torch.Tensor, emotions: list[str], seed: int, habits: Habits | None = None
) -> list[str]:
    """One caption a face.

    Args:
        identity: ``N`` people.
        scene: ``N`` views.
        units: ``(N, A)`` effective intensities.
        emotions: The expression each face was meant to show.
        seed: Of the wording; equal seeds give equal captions.
        habits: How the web writes.

    Returns:
        ``N`` captions of at most some 40 words.
    """
    habits = habits or Habits()
    dice = random.Random(seed)
    # As lists: looking numbers up in tensors one by one took most of the time.
    people, views, intensities = _listed(identity), _listed(scene), units.tolist()
    seeable = [(unit.phrase, column(unit.code)) for unit in ACTION_UNITS]
    texts = []
    for row, emotion in enumerate(emotions):
        clauses = []
        chance = dice.random()
        if chance < habits.emotion:
            clauses.append(emotion_clause(emotion, dice, habits))
        elif chance < habits.emotion + habits.mood:
            clauses.append(dice.choice(_MOODS[emotion]))
        if dice.random() < habits.units:
            seen = [phrase for phrase, place in seeable if intensities[row][place] > 0.45]
            dice.shuffle(seen)
            clauses.extend(seen[: dice.choice((1, 1, 2))])
        clauses.extend(_surroundings(views, row, dice, habits))
        opening = dice.choice(_OPENINGS).format(who=_who(people, row, dice, habits))
        first, rest = clauses[:1], clauses[1:4]
        text = " ".join([opening, *first]) + "".join(f", {clause}" for clause in rest)
        texts.append(text + dice.choice((".", "", "")))
    return texts
