"""What the book's tables hold; those of clips and of people have a room of their own."""

from dataclasses import replace

from fer_core import table_contents_clips
from fer_core.table_columns import (
    QUARTER,
    SOME,
    UAR_WAR,
    Overrides,
    by_people,
    few,
    noisy,
    scores,
    still,
    trained_on,
    wild_stills,
)
from fer_core.table_contents_clips import CLIPS, FACS_PEOPLE, PERSONAL
from fer_core.table_definitions import Column, Definition, Ours, Theirs

_BASELINES = ("zero-shot", "linear-probe", "coop", "full-fine-tuning")
_STILLS = (
    "zero-shot", "linear-probe", "coop", "cocoop", "maple", "promptsrc", "clip-adapter", "tip-adapter", "lora",
    "full-fine-tuning", "les-clip", "mpa-fer",
)  # fmt: skip
_FEW_SHOT = (
    "zero-shot", "linear-probe", "coop", "maple", "promptsrc", "clip-adapter", "tip-adapter", "les-clip", "mpa-fer",
)  # fmt: skip
_EVERYWHERE = {
    "facs-still-8": "stills", "ferplus": "FERPlus", "facs-clip-7": "clips, 7", "facs-clip-11": "clips, 11",
}  # fmt: skip

_GENERALITY = (
    Column("war", "expressions (WAR)", "facs-still-8", "war"),
    Column("attributes", "attributes (UAR)", "facs-still-8", "attributes"),
    Column("captions", "captions (first 5)", "facs-still-8", "captions"),
)
_UNALIGNED: Overrides = (("model.gamma", 0.0), ("model.beta", 0.0), ("model.local", False))
_MPA_PARTS: dict[str, Overrides] = {
    "soft prompts in the text tower": (("model.visual_length", 0), *_UNALIGNED),
    "+ visual prompts": _UNALIGNED,
    "MPA-FER without prototypes": (("model.gamma", 0.0),),
    "MPA-FER, prototypes 0.1": (("model.gamma", 0.1),),
    "MPA-FER, prototypes 1": (),
    "MPA-FER, prototypes 10": (("model.gamma", 10.0),),
    "MPA-FER, prototypes by L1": (("model.distance", "l1"),),
    "MPA-FER, prototypes by L1 summed": (("model.distance", "l1-sum"),),
}


DEFINITIONS = (
    Definition(
        "baselines-facs-still-8",
        "Baselines of the embedded CLIP on rendered faces, eight expressions (facs-still-8, test split), in percent.",
        (
            *still("facs-still-8"),
            Column("war_test_chosen", "WAR if chosen on test", "facs-still-8", "war", "test chosen"),
        ),
        tuple(Ours(method) for method in _BASELINES),
    ),
    Definition(
        "baselines-ferplus",
        "Baselines on FERPlus (eight classes, majority of the votes, official test split), in percent; de-duplicated: "
        "without test images that are also in the training split.",
        (
            *still("ferplus"),
            Column("war_deduplicated", "WAR, de-duplicated", "ferplus", "war", "deduplicated"),
            Column("uar_deduplicated", "UAR, de-duplicated", "ferplus", "uar", "deduplicated"),
            Column("war_test_chosen", "WAR if chosen on test", "ferplus", "war", "test chosen"),
        ),
        (
            *(Ours(method) for method in _BASELINES),
            *(Ours(method, "paper") for method in _BASELINES),
            Theirs("Exp-CLIP", "zero-shot FER"),
            Theirs("MPA-FER", "main comparison", ("MPA-FER", "CLIPER", "CEPrompt")),
            Theirs("other", "static FER comparison methods"),
        ),
    ),
    Definition(
        "stills-facs-still-8",
        "All methods for stills under one engine, on rendered faces (facs-still-8, test split): one CLIP, one training "
        "split, one rule of selection. Percent, but for the entanglement "
        "index and the trained parameters.",
        (
            *still("facs-still-8"),
            Column("look_alikes", "errors on look-alikes", "facs-still-8", "look-alikes"),
            Column("index", "entanglement index", "facs-still-8", "index"),
            Column("parameters", "trained parameters", "facs-still-8", "parameters"),
        ),
        tuple(Ours(method) for method in _STILLS),
    ),
    Definition(
        "stills-ferplus",
        "All methods for stills under one engine and on one CLIP, the embedded one, on FERPlus (eight classes, "
        "official test split), in percent.",
        (
            *still("ferplus"),
            Column("war_deduplicated", "WAR, de-duplicated", "ferplus", "war", "deduplicated"),
            Column("look_alikes", "errors on look-alikes", "ferplus", "look-alikes"),
        ),
        tuple(Ours(method) for method in _STILLS),
    ),
    Definition(
        "generality-facs-still-8",
        "What the image features of tuned methods still know of everything else, asked in CLIP's way on rendered faces "
        "(test split), in percent: zero-shot questions about hair, glasses, beard, skin, age and colour (balanced "
        "accuracy, mean over six), and a face's own caption, or a caption's own face, among the nearest 5 of 1,000.",
        _GENERALITY,
        tuple(Ours(method) for method in _STILLS),
    ),
    Definition(
        "mpa-fer-generality",
        "What MPA-FER's parts, and how strongly they are weighed, leave of CLIP's knowledge of everything else; "
        "measures as in the table above, after training on a quarter of the rendered faces.",
        _GENERALITY,
        (
            Ours("zero-shot"),
            *(Ours("mpa-fer", title=title, overrides=(*QUARTER, *changes)) for title, changes in _MPA_PARTS.items()),
        ),
    ),
    Definition(
        "methods",
        "All methods, each where it has an experiment: rendered stills, FERPlus with the embedded CLIP, rendered clips "
        "of 7 and 11 expressions, and three tasks on people (mean over target subjects). WAR in percent.",
        (
            *(Column(f"war_{name}", title, name, "war") for name, title in _EVERYWHERE.items()),
            *(replace(column, title=column.title.removesuffix(" WAR")) for column in by_people(FACS_PEOPLE)[::2]),
        ),
        tuple(Ours(method) for method in ("majority", *_STILLS, *CLIPS[4:], "clip-au", *PERSONAL)),
    ),
    Definition(
        "les-clip-main",
        "LES-CLIP: the published number, others on the same data, and what this code reproduces with the paper's "
        "profile. WAR in percent.",
        wild_stills("affectnet-8", "affectnet-7", "raf-db", "ferplus"),
        (
            Ours("les-clip", "paper"),
            Theirs("LES-CLIP", "headline"),
            Theirs("MPA-FER", "main comparison"),
            Theirs("other", "static FER comparison methods"),
        ),
    ),
    Definition(
        "mpa-fer-main",
        "MPA-FER: published numbers, as far as secondary sources agree on them, others on the same data, and what this "
        "code reproduces with the paper's profile. WAR in percent.",
        wild_stills("raf-db", "ferplus", "affectnet-7", "affectnet-8"),
        (
            Ours("mpa-fer", "paper"),
            Theirs("MPA-FER", "main comparison"),
            Theirs("other", "static FER comparison methods"),
        ),
    ),
    Definition(
        "few-shot-facs-still-8",
        "WAR in percent on rendered faces after training on so many of each class, others for each seed.",
        few("facs-still-8"),
        tuple(Ours(method) for method in _FEW_SHOT),
    ),
    Definition(
        "few-shot-ferplus",
        "UAR in percent on FERPlus after training on so many of each class, others for each seed. Not WAR, as training "
        "samples are balanced and test samples are not; chance is 12.5.",
        few("ferplus", "uar"),
        tuple(Ours(method) for method in _FEW_SHOT),
    ),
    Definition(
        "label-noise-facs-still-8",
        "WAR in percent on rendered faces, whose test labels are right, after training on 2,000 faces of which some "
        "have wrong labels, others for each seed: of a look-alike, where the class has one, or of any other class.",
        noisy("facs-still-8"),
        tuple(Ours(method) for method in _STILLS if method != "zero-shot"),
    ),
    Definition(
        "across-facs-ferplus",
        "Trained on 2,000 faces of one set and tested on the other; UAR and WAR in percent.",
        scores(
            {"ferplus": "FACS to FERPlus", "facs-still-8": "FERPlus to FACS"},
            UAR_WAR,
            {"ferplus": (*trained_on("facs-still-8"), *SOME), "facs-still-8": (*trained_on("ferplus"), *SOME)},
        ),
        tuple(Ours(method) for method in _STILLS),
    ),
    *table_contents_clips.DEFINITIONS,
)  # fmt: skip
