"""Shows what an output set holds as one HTML file: pictures with what was found in them, captions, and charts."""

from pipelines.view.exports.coco import write_coco as write_coco
from pipelines.view.exports.fiftyone import write_fiftyone as write_fiftyone
from pipelines.view.options import ViewOptions as ViewOptions
from pipelines.view.run import write_view as write_view
