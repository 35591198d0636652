"""Reads OK-VQA's `OpenEnded_mscoco_train2014_questions.json`, joined with `mscoco_train2014_annotations.json`.

The layout is VQAv2's. What a person said is `raw_answer`; `answer` has its stem (`race` of racing), which is no word to
train on.
"""

from curation.sources.instructions.vqav2 import make_reader

SOURCE = make_reader("okvqa", "raw_answer")
