# SPDX-License-Identifier: Apache-2.0
"""The paper's tables and figures on MV-TOD: fusion (2, 8, 9, figure 5), methods (3, figure 6), inference (10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from training.evaluate.bench import Bench, Classes, Scores, row_of, scored, slug
from training.evaluate.inference import Answer, InferenceConfig
from training.evaluate.methods.exported import ExportedMaps
from training.evaluate.methods.methods import (
    EVERY_POINT,
    Ensemble,
    InstanceMethod,
    ObjectWise,
    PatchesOfView,
    PointWise,
    Student,
    every_point,
)
from training.evaluate.paper import TABLE_2, TABLE_3, TABLE_9, TABLE_10
from training.evaluate.protocol import Method
from training.evaluate.report import PAPER_BY, ReportTable
from training.fusion.fuse import Weighting
from training.fusion.prompts2d import TABLE_8, VisualPrompt
from training.fusion.weights import PromptConfig
from training.objects.words.phrases import FAMILIES

REFERRING = ("mIoU", "Pr@25", "Pr@50", "Pr@75")
SEMANTIC = ("semantic_mIoU", "semantic_mAcc25")
OPENMASK3D = VisualPrompt("crop", crops=3, ratio=0.1)
WEIGHTINGS = {name: Weighting("v" in name, "g" in name) for name in ("", "v", "g", "vg")}


def object_wise(bench: Bench, weighting: Weighting = Weighting(), **options: object) -> ObjectWise:
    return ObjectWise(bench.features(), bench.prompts, bench.grounder.text, weighting, **options)


def point_wise(
    bench: Bench, weightings: Sequence[Weighting], views: int | None, steps: Sequence[int] = ()
) -> PointWise:
    """views: how many of the scene's are used; patches of 73 views take half a minute a scene on one core."""
    return PointWise(bench.patches, bench.prompts, bench.grounder.text, weightings, steps, views)


def with_paper(rows: Sequence[dict], paper: Sequence[Mapping[str, float] | None]) -> list[dict]:
    return [row | ({"paper": of_row} if of_row else {}) for row, of_row in zip(rows, paper, strict=True)]


def table2(bench: Bench, views: int | None = None) -> ReportTable:
    """Table 2: Fusion ablation: patches by points or crops by objects, visibility, informativeness."""
    points = point_wise(bench, [WEIGHTINGS[key] for key in ("v", "g", "vg")], views)
    methods: dict[str, Method] = {
        "point, patch, visibility": points.method(WEIGHTINGS["v"]),
        "point, patch, informativeness": points.method(WEIGHTINGS["g"]),
        "point, patch, both": points.method(WEIGHTINGS["vg"]),
        "object, crop": object_wise(bench, WEIGHTINGS[""]),
        "object, crop, visibility": object_wise(bench, WEIGHTINGS["v"]),
        "object, crop, informativeness": object_wise(bench, WEIGHTINGS["g"]),
        "object, crop, both": object_wise(bench, WEIGHTINGS["vg"]),
    }
    methods[EVERY_POINT] = every_point
    rows = with_paper(bench.referring(methods), [*TABLE_2.values(), None])
    counted = methods["object, crop, informativeness"]
    shares = {key: points.uninformative[WEIGHTINGS[key]] / points.points for key in ("g", "vg")}
    notes = [
        f"{counted.uninformative} of {counted.objects} objects (calibration included) had no informative view: the "
        f"mean of their views stands in. Of points {shares['g']:.0%} had none, {shares['vg']:.0%} where only views "
        "count that see them.",
        f"Patches of {views or 'all'} views a scene, crops of all.",
    ]
    return ReportTable("table2", "Table 2: multi-view fusion", REFERRING, rows, bench.about(), notes)


def table3(bench: Bench, views: int | None = None) -> ReportTable:
    """Table 3: Referring and semantic segmentation, from all views and from one."""
    visible = Weighting(visibility=True, informative=False)
    full: dict[str, Method] = {
        "OpenScene (upper bound)": point_wise(bench, [visible], views).method(visible),
        "OpenMask3D (upper bound, true masks)": ObjectWise(
            bench.features((OPENMASK3D,), views), bench.prompts, bench.grounder.text, visible
        ),
        "DROP-CLIP (upper bound, true masks)": object_wise(bench),
        "DROP-CLIP, full cloud": Student(bench.grounder),
    }
    patches, student = PatchesOfView(bench.patches, bench.grounder.text), Student(bench.grounder)
    single: dict[str, Method] = {
        "OpenSeg to 3D, 1 view": ExportedMaps(bench.exported / "openseg"),
        "MaskCLIP to 3D, 1 view": patches,
        "DROP-CLIP, 1 view": student,
        "DROP-CLIP with MaskCLIP, 1 view": Ensemble(student, patches),
        "DROP-CLIP, 1 view, instances": InstanceMethod(bench.grounder),
    }
    rows = bench.referring(full) + bench.referring(single, single=True)
    rows += bench.referring({f"{EVERY_POINT}, full cloud": every_point})
    rows += bench.referring({f"{EVERY_POINT}, 1 view": every_point}, single=True)
    paper = [*TABLE_3.values()]
    notes = [
        f"OpenScene's patches and OpenMask3D's crops are of {views or 'all'} views a scene.",
        "The last four rows have no counterpart in the paper's table: figure 20's ensemble, the encoder's voxels "
        "pooled over the instances that the package finds, and what a method gets that has every point answer.",
    ]
    rows = with_paper(rows, [*paper, None, None, None, None])
    return ReportTable("table3", "Table 3: segmentation of MV-TOD", (*REFERRING, *SEMANTIC), rows, bench.about(), notes)


def student(bench: Bench, _: int | None = None) -> ReportTable:
    """What the weights lose: upper bound, full cloud and single view, with the families of figure 6."""
    ours = Student(bench.grounder)
    rows = bench.referring({"upper bound, true masks": object_wise(bench), "full cloud": ours})
    rows += bench.referring({"1 view": ours, "1 view, instances": InstanceMethod(bench.grounder)}, single=True)
    bound, full, single, instances = (row["mIoU"] for row in rows)
    rows += bench.referring({f"{EVERY_POINT}, full cloud": every_point})
    rows += bench.referring({f"{EVERY_POINT}, 1 view": every_point}, single=True)
    paper = [*(TABLE_3[key] for key in ("upper", "full", "single")), *[None] * 3]
    columns = (*REFERRING[:2], *SEMANTIC[:1], *(f"{family} mIoU" for family in FAMILIES))
    notes = [
        f"Student over upper bound, full cloud: {full / bound:.2f} (paper: 66.6 / 82.7 = 0.81). One view over the full "
        f"cloud: {single / full:.2f} (62.3 / 66.6 = 0.94). One view by instances over the upper bound: "
        f"{instances / bound:.2f}.",
    ]
    return ReportTable("student", "The weights", columns, with_paper(rows, paper), bench.about(), notes)


def table8(bench: Bench, views: int | None = None) -> ReportTable:
    """Table 8: Visual prompts: what the image tower is shown of an object."""
    rows = []
    for prompts, paper in TABLE_8:
        method = ObjectWise(bench.features(prompts, views), bench.prompts, bench.grounder.text)
        (row,) = bench.referring({" + ".join(map(slug, prompts)): method})
        rows.append(row | ({"paper": {"mIoU": paper}} if paper else {}))
    notes = [
        f"Crops of {views or 'all'} views a scene. The paper's rows with prompts of the whole image lost their names."
    ]
    return ReportTable("table8", "Table 8: visual prompts", REFERRING, rows, bench.about(), notes)


def table9(bench: Bench, _: int | None = None) -> ReportTable:
    """Table 9: Semantic informativeness: prompts, operator, negatives."""
    configs = [PromptConfig(*key) for key in TABLE_9]
    names = [f"{config.kind}, {config.operator}, {config.negatives}" for config in configs]
    methods = {name: object_wise(bench, config=config) for name, config in zip(names, configs, strict=True)}
    methods["families alike, max, scene (ours)"] = object_wise(bench, config=PromptConfig("families"))
    methods["families as in table 6, max, scene (ours)"] = object_wise(bench, config=PromptConfig("mix"))
    for kind in ("cls", "open"):  # what the paper's drop with all negatives may come from
        strict = PromptConfig(kind, "max", "all")
        methods[f"{kind}, max, all, no fallback"] = object_wise(bench, config=strict, fallback=False)
    rows = bench.referring(methods)
    columns = ("mIoU", "Pr@25", "semantic_mIoU", "semantic_mAcc", "uninformative")
    for row, method in zip(rows, methods.values(), strict=True):
        row["uninformative"] = 100 * method.uninformative / method.objects
    rows = with_paper(rows, [*(dict(zip(columns, values, strict=False)) for values in TABLE_9.values()), *[None] * 4])
    notes = [
        "uninformative: share of objects without an informative view, which fall back to the mean of their views; in "
        "the last two rows they have no feature.",
    ]
    return ReportTable("table9", "Table 9: semantic informativeness", columns, rows, bench.about(), notes)


def _by(threshold: float) -> str:
    return f"threshold {threshold:g}, upper bound"


TABLE_10_ROWS = {  # of ours: the paper's row, and what that was measured with
    **{f"argmax, {mode}": (f"argmax_{mode}", "argmax, upper bound") for mode in ("scene", "canonical", "all")},
    **{f"threshold, {mode}": (f"best_{mode}", _by(0.95)) for mode in ("scene", "canonical", "all", "none")},
    **{f"threshold 0.95, {mode}": (f"best_{mode}", _by(0.95)) for mode in ("scene", "canonical", "all")},
    "threshold 0.9, scene": ("at_90", _by(0.9)),
    "threshold 0.8, scene": ("at_80", _by(0.8)),
}


def table10(bench: Bench, _: int | None = None) -> ReportTable:
    """Table 10: Inference: argmax or threshold, negatives, the release's variant, a null class."""
    method = {"upper bound": object_wise(bench)}

    def fitted(**options: object) -> InferenceConfig:
        return bench.calibrated(method, InferenceConfig(**options))["upper bound"]

    scene, modes = fitted(), ("scene", "canonical", "all", "none")
    configs = {f"argmax, {mode}": InferenceConfig("argmax", mode) for mode in ("scene", "canonical", "all")}
    configs |= {f"threshold, {mode}": fitted(negatives=mode) for mode in ("canonical", "all", "none")}
    configs["threshold, scene"] = scene
    configs |= {f"threshold {at}, scene": replace(scene, threshold=at) for at in (0.95, 0.9, 0.8)}
    configs |= {
        f"threshold 0.95, {mode}": replace(configs[f"threshold, {mode}"], threshold=0.95) for mode in modes[1:3]
    }
    configs["release: pairwise, min-max, scene"] = fitted(release=True)
    configs["release: pairwise, min-max, canonical"] = fitted(release=True, negatives="canonical")
    configs["threshold, scene, best of the scene only"] = fitted(rival=0.5)
    what = {name: scored(config) for name, config in configs.items()}

    def everything(answer: Answer, classes: Classes) -> dict[str, Scores]:
        return {name: of(answer, classes) for name, of in what.items()}

    (found,) = bench.run(method, {"upper bound": everything}, bench.test, modes=modes, title=bench.split).values()
    rows = [row_of(name, [one[name] for one in found], config) for name, config in configs.items()]
    for row in rows:
        key, measured = TABLE_10_ROWS.get(row["method"], ("", ""))
        row |= {"paper": TABLE_10[key], PAPER_BY: measured} if key else {}
    notes = [
        "Thresholds and temperatures are fitted on the validation scenes; a threshold that a row names is taken as it "
        "is, at the fitted temperature.",
        "The paper measured all of its rows with the fused features of ViT-L/14@336px over true masks, and found 0.95 "
        "best; it does not say its temperature, nor how a cosine without negatives comes to 0.95.",
    ]
    return ReportTable("table10", "Table 10: inference", REFERRING, rows, bench.about(), notes)


def figure5(bench: Bench, views: int | None = None) -> ReportTable:
    """Referring segmentation by how many views are fused."""
    most = min(map(len, bench.test))
    steps = [n for n in (1, 2, 4, 8, 16, 32) if n < most] + [most]
    rows = []
    for count in steps:
        (row,) = bench.referring({"object-wise, informativeness": object_wise(bench, views=count)})
        rows.append(row | {"views": count})
    few = [n for n in steps if n <= (views or most)]
    curves = {"point-wise, informativeness": WEIGHTINGS["g"], "point-wise, visibility": WEIGHTINGS["v"]}
    points = point_wise(bench, list(curves.values()), views or most, few)
    keys = [(name, count) for name in curves for count in few]
    methods = {f"{name} {count}": points.method(curves[name], count) for name, count in keys}
    for row, (name, count) in zip(bench.referring(methods), keys, strict=True):
        rows.append(row | {"method": name, "views": count})
    (everything,) = bench.referring({EVERY_POINT: every_point})
    rows += [everything | {"views": count} for count in dict.fromkeys((few[0], most))]
    return ReportTable("figure5", "Figure 5: number of views", REFERRING, rows, bench.about(), x="views")


def figure6(bench: Bench, _: int | None = None) -> ReportTable:
    """Referring segmentation by family of phrases."""
    single = {
        "DROP-CLIP, 1 view": Student(bench.grounder),
        "DROP-CLIP, 1 view, instances": InstanceMethod(bench.grounder),
        "MaskCLIP to 3D, 1 view": PatchesOfView(bench.patches, bench.grounder.text),
        f"{EVERY_POINT}, 1 view": every_point,
    }
    rows = bench.referring({"upper bound": object_wise(bench)}) + bench.referring(single, single=True)
    by_family = [
        {"method": row["method"], "family": family, "inference": row["inference"]}
        | {key.removeprefix(f"{family} "): value for key, value in row.items() if key.startswith(f"{family} ")}
        for row in rows
        for family in FAMILIES
    ]
    return ReportTable("figure6", "Figure 6: families of phrases", REFERRING, by_family, bench.about(), x="family")
