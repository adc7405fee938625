# SPDX-License-Identifier: Apache-2.0
"""The paper's own numbers, in percent, for the columns beside ours; its data, models and views, not ours."""

from __future__ import annotations


def _rows(columns: str, **rows: str) -> dict[str, dict[str, float]]:
    names = columns.split()
    return {
        key: {name: float(value) for name, value in zip(names, row.split(), strict=True) if value != "-"}
        for key, row in rows.items()
    }


REFERRING = "mIoU Pr@25 Pr@50 Pr@75"

TABLE_2 = _rows(
    REFERRING,
    point_v="37.3 55.4 33.7 16.7",
    point_g="57.0 74.1 59.5 40.9",
    point_vg="57.4 77.0 60.9 39.9",
    object="65.6 67.0 65.4 64.1",
    object_v="67.3 68.7 67.1 65.8",
    object_g="83.1 83.9 83.1 82.4",
    object_vg="80.9 83.1 80.2 79.7",
)
TABLE_3 = _rows(
    REFERRING + " semantic_mIoU semantic_mAcc25",
    openscene="29.3 44.0 24.5 11.3 21.8 32.1",
    openmask3d="65.4 73.1 64.0 57.4 59.5 66.5",
    upper="82.7 86.1 82.4 79.2 75.4 80.0",
    full="66.6 75.7 67.6 59.9 62.0 70.7",
    openseg="12.9 17.4 2.4 0.2 12.8 17.2",
    maskclip="25.6 40.4 18.7 7.0 21.0 32.1",
    single="62.3 72.0 62.8 53.9 54.5 64.4",
)
TABLE_4 = _rows(
    "semantic_mIoU semantic_mAcc50 semantic_mAcc75",
    groundedsam="33.93 39.0 36.0",
    lseg="44.1 37.9 23.5",
    openseg="47.1 33.1 19.1",
    maskclip="57.1 59.4 31.0",
    single="60.2 60.1 38.7",
)
TABLE_5 = {
    "OCID-VLG": _rows("mIoU AP25", sam="60.1 95.3", single="50.9 68.0"),
    "MV-TOD": _rows("mIoU AP25", sam="70.1 95.2", single="80.8 91.9", mask3d="14.4 18.7", full="88.3 93.3"),
}
TABLE_9 = {
    ("cls", "mean", "scene"): (82.2, 83.1, 73.1, 75.1),
    ("cls", "max", "scene"): (82.8, 84.0, 74.9, 76.7),
    ("cls", "mean", "all"): (80.9, 81.0, 71.6, 73.9),
    ("cls", "max", "all"): (72.6, 75.1, 60.7, 63.2),
    ("open", "mean", "scene"): (76.4, 78.8, 68.3, 70.3),
    ("open", "max", "scene"): (83.9, 85.5, 75.6, 77.2),
    ("open", "mean", "all"): (81.0, 81.8, 71.6, 74.0),
    ("open", "max", "all"): (72.9, 74.2, 63.8, 64.6),
}
TABLE_10 = _rows(
    REFERRING,
    argmax_scene="73.7 77.4 73.0 69.8",
    argmax_canonical="53.4 57.4 52.6 49.7",
    argmax_all="30.8 31.0 31.0 30.8",
    best_scene="82.8 84.0 83.2 82.0",
    best_canonical="75.2 77.6 74.7 72.9",
    best_all="74.9 76.6 75.4 73.0",
    best_none="70.2 70.6 69.9 69.5",
    at_90="82.1 83.6 82.8 79.8",
    at_80="79.9 83.0 80.4 75.7",
)
TABLE_11_THRESHOLDS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # {0.4, ..., 0.9} of A.6.1
TABLE_11 = {
    "OCID-VLG": _rows("mIoU Pr@25", maskclip="40.4 45.2", single="46.2 48.9"),
    "REGRAD": _rows("mIoU Pr@25", maskclip="33.2 39.0", single="59.1 63.0"),
}
TABLE_12 = _rows(
    "localisation semantic_mIoU",
    lerf="84.8 45.0",
    langsplat="88.1 65.1",
    semanticgaussians="89.8 -",
    lseg="33.9 21.7",
    single="66.1 39.1",
)
