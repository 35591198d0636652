"""Lists the layouts by the name that a task file gives."""

from curation.tasks.layouts import captions, choices, mixed, open_ended, questions, yes_no
from curation.tasks.layouts.layout import Layout

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layouts in (
        *(captions.LAYOUTS, questions.LAYOUTS, choices.LAYOUTS),
        *(mixed.LAYOUTS, yes_no.LAYOUTS, open_ended.LAYOUTS),
    )
    for layout in layouts
}
