"""What the book's tables hold."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fer_core.table_definitions import Column, Definition, Ours, Score, Theirs

Overrides = tuple[tuple[str, Any], ...]

_BASELINES = ("zero-shot", "linear-probe", "coop", "full-fine-tuning")
_STILLS = (
    "zero-shot", "linear-probe", "coop", "cocoop", "maple", "promptsrc", "clip-adapter", "tip-adapter", "lora",
    "full-fine-tuning", "les-clip", "mpa-fer",
)  # fmt: skip
_SHOTS = (1, 2, 4, 8, 16)
#: Whose labels are wrong ones, how a table says it, and how large a share of them.
_NOISE = (("look-alike", "look-alike", (0.2, 0.4, 0.6)), ("any", "any class", (0.4,)))
_FEW_SHOT = (
    "zero-shot", "linear-probe", "coop", "maple", "promptsrc", "clip-adapter", "tip-adapter", "les-clip", "mpa-fer",
)  # fmt: skip

_CLIPS = (
    "zero-shot", "linear-probe", "coop", "full-fine-tuning", "dfer-clip", "emo-clip", "aim", "st-adapter",
    "fine-cliper",
)  # fmt: skip
_ONE_OR_MORE = ("zero-shot", "linear-probe", "full-fine-tuning", "aim", "st-adapter", "fine-cliper")
_WILD_CLIPS = {"dfew": "DFEW", "ferv39k": "FERV39k", "mafw": "MAFW"}

_SOURCES = ("majority", "zero-shot", "linear-probe", "full-fine-tuning", "clip-au")
_PERSONAL = ("tent", "tpt", "tda", "prompt-align", "clip-autt")
_LEFT_OUT = ("majority", "linear-probe", "clip-au", "clip-autt")  # zero-shot trains on nobody
_EVERYWHERE = {
    "facs-still-8": "stills", "ferplus": "FERPlus", "facs-clip-7": "clips, 7", "facs-clip-11": "clips, 11",
}  # fmt: skip
_FACS_PEOPLE = {"facs-pain": "pain", "facs-stress": "stress", "facs-ambivalence": "ambivalence"}


def _trained_on(dataset: str, **options: Any) -> Overrides:
    """Settings of a column whose methods train on another data set."""
    return (("train_on.dataset", dataset), *((f"train_on.{name}", value) for name, value in options.items()))


#: As many faces as the ablations train on; as short a training needs one evaluation, and no half precision.
_SOME: Overrides = (("train_on.limit.train", 2000), ("training.evaluate_every", 5), ("training.precision", "fp32"))

#: As many clips as FineCLIPER's ablations train on, for the same reason.
_SOME_CLIPS: Overrides = (("train_on.limit.train", 840), ("training.evaluate_every", 4))

#: What the rows of MPA-FER's ablations have in common, and columns of wrong labels.
_QUARTER: Overrides = (("data.limit.train", 2000), *_SOME[1:])

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

_FROM_MAFW = _trained_on("mafw", fold=1, frames=16, size=224, captions="english", validation=0)
_FROM_DFEW = _trained_on("dfew", fold=1, frames=16, size=224, validation=0)


def _scores(
    titles: Mapping[str, str], scores: tuple[Score, ...], overrides: Mapping[str, Overrides] | None = None
) -> tuple[Column, ...]:
    """Scores of each of some data sets, by its name and title, with settings of its own."""
    return tuple(
        Column(f"{score}_{name}", f"{title} {score.upper()}", name, score, overrides=(overrides or {}).get(name, ()))
        for name, title in titles.items()
        for score in scores
    )


def _still(dataset: str) -> tuple[Column, Column]:
    """WAR and UAR of one data set."""
    return Column("war", "WAR", dataset, "war"), Column("uar", "UAR", dataset, "uar")


def _wild_stills(*datasets: str) -> tuple[Column, ...]:
    """WAR of data sets of photographs, in this order."""
    titles = {"raf-db": "RAF-DB", "ferplus": "FERPlus", "affectnet-7": "AffectNet-7", "affectnet-8": "AffectNet-8"}
    return tuple(Column(f"war_{name}", titles[name], name, "war") for name in datasets)


def _few(dataset: str, score: Score = "war", batch_size: int | None = 32) -> tuple[Column, ...]:
    """A score with so many training samples of each class; passes enough for the fewest. None: own batches."""
    batches = () if batch_size is None else (("training.batch_size", batch_size),)
    longer: Overrides = (("training.epochs", 50), ("training.evaluate_every", 50), *batches)
    return tuple(
        Column(f"{score}_{shots}", f"{shots} a class", dataset, score, overrides=(("data.shots", shots), *longer))
        for shots in _SHOTS
    )


def _noisy(dataset: str) -> tuple[Column, ...]:
    """WAR after training on right labels, and on labels of which such shares are wrong."""
    wrong = [(to, words, share) for to, words, shares in _NOISE for share in shares]
    return (
        Column("war", "right labels", dataset, "war", overrides=_QUARTER),
        *(
            Column(
                f"war_{to}_{share}", f"{share:.0%} {words}", dataset, "war",
                overrides=(("data.label_noise.share", share), ("data.label_noise.to", to), *_QUARTER),
            )
            for to, words, share in wrong
        ),
    )  # fmt: skip


def _by_people(titles: Mapping[str, str], overrides: Overrides = ()) -> tuple[Column, ...]:
    """WAR and F1 of some data sets, as means over people."""
    columns = _scores(titles, ("war", "f1"), dict.fromkeys(titles, overrides))
    return tuple(replace(column, part="by subject") for column in columns)


DEFINITIONS = (
    Definition(
        "baselines-facs-still-8",
        "Baselines of the embedded CLIP on rendered faces, eight expressions (facs-still-8, test split), in percent.",
        (
            *_still("facs-still-8"),
            Column("war_test_chosen", "WAR if chosen on test", "facs-still-8", "war", "test chosen"),
        ),
        tuple(Ours(method) for method in _BASELINES),
    ),
    Definition(
        "baselines-ferplus",
        "Baselines on FERPlus (eight classes, majority of the votes, official test split), in percent; de-duplicated: "
        "without test images that are also in the training split.",
        (
            *_still("ferplus"),
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
            *_still("facs-still-8"),
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
            *_still("ferplus"),
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
            *(Ours("mpa-fer", title=title, overrides=(*_QUARTER, *changes)) for title, changes in _MPA_PARTS.items()),
        ),
    ),
    Definition(
        "methods",
        "All methods, each where it has an experiment: rendered stills, FERPlus with the embedded CLIP, rendered clips "
        "of 7 and 11 expressions, and three tasks on people (mean over target subjects). WAR in percent.",
        (
            *(Column(f"war_{name}", title, name, "war") for name, title in _EVERYWHERE.items()),
            *(replace(column, title=column.title.removesuffix(" WAR")) for column in _by_people(_FACS_PEOPLE)[::2]),
        ),
        tuple(Ours(method) for method in ("majority", *_STILLS, *_CLIPS[4:], "clip-au", *_PERSONAL)),
    ),
    Definition(
        "les-clip-main",
        "LES-CLIP: the published number, others on the same data, and what this code reproduces with the paper's "
        "profile. WAR in percent.",
        _wild_stills("affectnet-8", "affectnet-7", "raf-db", "ferplus"),
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
        _wild_stills("raf-db", "ferplus", "affectnet-7", "affectnet-8"),
        (
            Ours("mpa-fer", "paper"),
            Theirs("MPA-FER", "main comparison"),
            Theirs("other", "static FER comparison methods"),
        ),
    ),
    Definition(
        "few-shot-facs-still-8",
        "WAR in percent on rendered faces after training on so many of each class, others for each seed.",
        _few("facs-still-8"),
        tuple(Ours(method) for method in _FEW_SHOT),
    ),
    Definition(
        "few-shot-ferplus",
        "UAR in percent on FERPlus after training on so many of each class, others for each seed. Not WAR, as training "
        "samples are balanced and test samples are not; chance is 12.5.",
        _few("ferplus", "uar"),
        tuple(Ours(method) for method in _FEW_SHOT),
    ),
    Definition(
        "label-noise-facs-still-8",
        "WAR in percent on rendered faces, whose test labels are right, after training on 2,000 faces of which some "
        "have wrong labels, others for each seed: of a look-alike, where the class has one, or of any other class.",
        _noisy("facs-still-8"),
        tuple(Ours(method) for method in _STILLS if method != "zero-shot"),
    ),
    Definition(
        "across-facs-ferplus",
        "Trained on 2,000 faces of one set and tested on the other; UAR and WAR in percent.",
        _scores(
            {"ferplus": "FACS to FERPlus", "facs-still-8": "FERPlus to FACS"},
            ("uar", "war"),
            {"ferplus": (*_trained_on("facs-still-8"), *_SOME), "facs-still-8": (*_trained_on("ferplus"), *_SOME)},
        ),
        tuple(Ours(method) for method in _STILLS),
    ),
    Definition(
        "clips-facs",
        "Methods for clips on rendered clips of 4 frames: UAR and WAR in percent, and the shares of errors that fall "
        "on look-alikes.",
        (
            *_scores({"facs-clip-7": "7 classes", "facs-clip-11": "11 classes"}, ("uar", "war")),
            Column("look_alikes", "errors on look-alikes (7)", "facs-clip-7", "look-alikes"),
            Column("parameters", "trained parameters (7)", "facs-clip-7", "parameters"),
            Column("flops", "million operations a clip (7)", "facs-clip-7", "flops"),
        ),
        tuple(Ours(method) for method in _CLIPS),
    ),
    Definition(
        "frames-facs-clip-7",
        "One frame of each rendered clip, the fifth of its 8, beside four, the middle ones of as many segments: WAR in "
        "percent after training on the whole training split.",
        (
            Column("war_1", "1 frame", "facs-clip-7", "war", overrides=(("data.frames", 1),)),
            Column("war_4", "4 frames", "facs-clip-7", "war"),
        ),
        tuple(Ours(method) for method in _ONE_OR_MORE),
    ),
    Definition(
        "clips-facs-across",
        "Trained on 840 rendered clips of one set and tested on the other, whose clips and labels are never seen: 4 of "
        "the 11 classes are none of the 7. UAR and WAR in percent.",
        _scores(
            {"facs-clip-11": "7 to 11 classes", "facs-clip-7": "11 to 7 classes"},
            ("uar", "war"),
            {
                "facs-clip-11": (*_trained_on("facs-clip-7", frames=4), *_SOME_CLIPS),
                "facs-clip-7": (*_trained_on("facs-clip-11", frames=4), *_SOME_CLIPS),
            },
        ),
        (
            Ours("zero-shot"),
            Ours("coop"),
            Ours("emo-clip", title="emo-clip"),
            Ours("emo-clip", title="emo-clip, class words masked", overrides=(("model.masked", True),)),
            Ours("fine-cliper"),
            Ours("fine-cliper", title="fine-cliper, positive texts alone", overrides=(("model.texts", "positive"),)),
            *(
                Ours("fine-cliper", title=f"fine-cliper, taught by descriptions{also}", overrides=overrides)
                for also, overrides in (
                    (", class words masked", (("model.description_weight", 0.5),)),
                    ("", (("model.description_weight", 0.5), ("model.masked", False))),
                )
            ),
        ),
    ),
    Definition(
        "few-shot-facs-clip-7",
        "WAR in percent on rendered clips after training on so many of each class, others for each seed.",
        _few("facs-clip-7", batch_size=None),  # FineCLIPER's fixed texts take many steps
        tuple(Ours(method) for method in ("zero-shot", "linear-probe", "coop", "aim", "dfer-clip", "fine-cliper")),
    ),
    Definition(
        "fine-cliper-main",
        "FineCLIPER: published numbers, others on the same data as far as we hold them (a method of which two "
        "sources print different numbers stands twice), and what this code reproduces with the paper's profile. DFEW "
        "and MAFW: means over five folds. UAR and WAR in percent.",
        _scores(_WILD_CLIPS, ("uar", "war")),
        (
            *(Ours(method, "paper") for method in _CLIPS if method != "coop"),
            Theirs("FineCLIPER", "main comparison"),
            Theirs("DFER-CLIP", "main comparison"),
            Theirs("other", "later DFER methods"),
            Theirs("MAE-DFER", "per-class results"),
            Theirs("other", "DFER results per fold"),
            Theirs("SurveyFER", "DFER methods"),
        ),
    ),
    Definition(
        "fine-cliper-zero-shot",
        "Recognition without a label of the data set: published numbers, and what this code reproduces after training "
        "on another set (MAFW for DFEW and FERV39k, DFEW for MAFW; EmoCLIP on DFEW needs a file of descriptions, "
        "train_on.descriptions). UAR and WAR in percent.",
        _scores(_WILD_CLIPS, ("uar", "war"), {"dfew": _FROM_MAFW, "ferv39k": _FROM_MAFW, "mafw": _FROM_DFEW}),
        (
            Ours("zero-shot", "paper"),
            Ours("emo-clip", "paper"),
            Ours("fine-cliper", "paper", overrides=(("train_on.annotations.name", "mediapipe"),)),
            Theirs("Exp-CLIP", "zero-shot FER"),
        ),
    ),
    Definition(
        "personalisation-facs",
        "Source methods, and test-time methods around CLIP-AU, on rendered clips: means over 12 target subjects, who "
        "share nobody with the 40 source subjects, in percent. A majority that says one class always stands first.",
        _by_people(_FACS_PEOPLE),
        tuple(Ours(method) for method in (*_SOURCES, *_PERSONAL)),
    ),
    Definition(
        "personalisation-facs-left-out",
        "The same, each of the 12 people being left out in turn while everybody else trains: means over people, in "
        "percent.",
        _by_people(_FACS_PEOPLE, (("protocol", "leave-one-out"),)),
        tuple(Ours(method) for method in _LEFT_OUT),
    ),
    Definition(
        "personalisation-facs-collapse",
        "The same methods: mean UAR over people, and how many of all predictions say the class that is said most, in "
        "percent. A method that has collapsed says one class always.",
        (
            *(Column(f"uar_{name}", f"{title} UAR", name, "uar", "by subject") for name, title in _FACS_PEOPLE.items()),
            *(Column(f"most_{name}", f"{title}, most said", name, "most") for name, title in _FACS_PEOPLE.items()),
        ),
        tuple(Ours(method) for method in (*_SOURCES, *_PERSONAL)),
    ),
    Definition(
        "clip-autt-main",
        "CLIP-AUTT's Table 1: published numbers (means over 10 target subjects), and what this code reproduces with "
        "the paper's profile, in percent.",
        _by_people({"biovid": "BioVid", "stressid": "StressID", "bah": "BAH"}),
        (*(Ours(method, "paper") for method in (*_SOURCES, *_PERSONAL)), Theirs("CLIP-AUTT", "Table 1")),
    ),
)  # fmt: skip
