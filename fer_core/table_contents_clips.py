"""What the book's tables of clips and of people hold."""

from fer_core.data.labels import RELEASES
from fer_core.faces.sets import SETS
from fer_core.table_columns import SOME_CLIPS, UAR_WAR, by_class, by_fold, by_people, few, scores, trained_on
from fer_core.table_definitions import Column, Definition, Ours, Theirs

CLIPS = (
    "zero-shot", "linear-probe", "coop", "full-fine-tuning", "dfer-clip", "emo-clip", "aim", "st-adapter",
    "fine-cliper",
)  # fmt: skip
_ONE_OR_MORE = ("zero-shot", "linear-probe", "full-fine-tuning", "aim", "st-adapter", "fine-cliper")
_MEANS = ", means over five folds"
_WILD_CLIPS = {"dfew": "DFEW", "ferv39k": "FERV39k", "mafw": "MAFW"}

_SOURCES = ("majority", "zero-shot", "linear-probe", "full-fine-tuning", "clip-au")
PERSONAL = ("tent", "tpt", "tda", "prompt-align", "clip-autt")
_LEFT_OUT = ("majority", "linear-probe", "clip-au", "clip-autt")  # zero-shot trains on nobody
FACS_PEOPLE = {"facs-pain": "pain", "facs-stress": "stress", "facs-ambivalence": "ambivalence"}

_FROM_MAFW = trained_on("mafw", fold=1, frames=16, size=224, captions="english", validation=0)
_FROM_DFEW = trained_on("dfew", fold=1, frames=16, size=224, validation=0)

DEFINITIONS = (
    Definition(
        "clips-facs",
        "Methods for clips on rendered clips of 4 frames: UAR and WAR in percent, and the shares of errors that fall "
        "on look-alikes. What tunes or adapts the image tower trains for four epochs, FineCLIPER in batches of 4, the "
        "others of 16.",
        (
            *scores({"facs-clip-7": "7 classes", "facs-clip-11": "11 classes"}, UAR_WAR),
            Column("look_alikes", "errors on look-alikes (7)", "facs-clip-7", "look-alikes"),
            Column("parameters", "trained parameters (7)", "facs-clip-7", "parameters"),
            Column("flops", "million operations a clip (7)", "facs-clip-7", "flops"),
        ),
        tuple(Ours(method) for method in CLIPS),
    ),
    *(
        Definition(
            f"classes-{name}",
            "Recall of each expression on rendered clips of 4 frames, UAR and WAR, in percent.",
            by_class(name, SETS[name].classes),
            tuple(Ours(method) for method in CLIPS),
        )
        for name in ("facs-clip-7", "facs-clip-11")
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
        scores(
            {"facs-clip-11": "7 to 11 classes", "facs-clip-7": "11 to 7 classes"},
            UAR_WAR,
            {
                "facs-clip-11": (*trained_on("facs-clip-7", frames=4), *SOME_CLIPS),
                "facs-clip-7": (*trained_on("facs-clip-11", frames=4), *SOME_CLIPS),
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
        "WAR in percent on rendered clips after 50 epochs on so many of each class, others for each seed, each method "
        "in batches of its own.",
        few("facs-clip-7", batch_size=None),  # FineCLIPER's fixed texts take many steps
        tuple(Ours(method) for method in ("zero-shot", "linear-probe", "coop", "aim", "dfer-clip", "fine-cliper")),
    ),
    Definition(
        "fine-cliper-main",
        "FineCLIPER: published numbers, others on the same data as far as we hold them (a method of which two "
        "sources print different numbers stands twice), and what this code reproduces with the paper's profile. DFEW "
        "and MAFW: means over five folds. UAR and WAR in percent.",
        scores(_WILD_CLIPS, UAR_WAR),
        (
            *(Ours(method, "paper") for method in CLIPS if method != "coop"),
            Theirs("FineCLIPER", "main comparison"),
            Theirs("DFER-CLIP", "main comparison"),
            Theirs("other", "later DFER methods"),
            Theirs("MAE-DFER", "per-class results"),
            Theirs("other", "DFER results per fold"),
            Theirs("SurveyFER", "DFER methods"),
        ),
    ),
    *(
        Definition(
            f"classes-{name}",
            f"{title}: recall of each class, UAR and WAR in percent{means}, published and with the paper's profile.",
            by_class(name, RELEASES[f"{name}/official"].classes),
            (*(Ours(method, "paper") for method in CLIPS if method != "coop"), Theirs("MAE-DFER", "per-class results")),
        )
        for (name, title), means in zip(_WILD_CLIPS.items(), (_MEANS, "", _MEANS), strict=True)
    ),
    *(
        Definition(
            f"folds-{name}",
            f"{_WILD_CLIPS[name]}: UAR and WAR of each fold in percent, published and with the paper's profile.",
            by_fold(name),
            (
                *(Ours(method, "paper") for method in CLIPS if method != "coop"),
                Theirs("other", "DFER results per fold"),
            ),
        )
        for name in ("dfew", "mafw")
    ),
    Definition(
        "fine-cliper-zero-shot",
        "Recognition without a label of the data set: published numbers, and what this code reproduces after training "
        "on another set (MAFW for DFEW and FERV39k, DFEW for MAFW; EmoCLIP on DFEW needs a file of descriptions, "
        "train_on.descriptions). FineCLIPER's own numbers could not be recovered; EmoCLIP's published ones on MAFW "
        "follow training on captions of MAFW. UAR and WAR in percent.",
        scores(_WILD_CLIPS, UAR_WAR, {"dfew": _FROM_MAFW, "ferv39k": _FROM_MAFW, "mafw": _FROM_DFEW}),
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
        by_people(FACS_PEOPLE),
        tuple(Ours(method) for method in (*_SOURCES, *PERSONAL)),
    ),
    Definition(
        "personalisation-facs-left-out",
        "The same, each of the 12 people being left out in turn while everybody else trains: means over people, in "
        "percent.",
        by_people(FACS_PEOPLE, (("protocol", "leave-one-out"),)),
        tuple(Ours(method) for method in _LEFT_OUT),
    ),
    Definition(
        "personalisation-facs-collapse",
        "The same methods: mean UAR over people, and how many of all predictions say the class that is said most, in "
        "percent. A method that has collapsed says one class always.",
        (
            *(Column(f"uar_{name}", f"{title} UAR", name, "uar", "by subject") for name, title in FACS_PEOPLE.items()),
            *(Column(f"most_{name}", f"{title}, most said", name, "most") for name, title in FACS_PEOPLE.items()),
        ),
        tuple(Ours(method) for method in (*_SOURCES, *PERSONAL)),
    ),
    Definition(
        "clip-autt-main",
        "CLIP-AUTT's Table 1: published numbers (means over 10 target subjects), and what this code reproduces with "
        "the paper's profile, in percent.",
        by_people({"biovid": "BioVid", "stressid": "StressID", "bah": "BAH"}),
        (*(Ours(method, "paper") for method in (*_SOURCES, *PERSONAL)), Theirs("CLIP-AUTT", "Table 1")),
    ),
)  # fmt: skip
