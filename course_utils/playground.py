"""A playground: a picture that a running notebook draws again for whatever the reader chooses."""

import inspect
from collections.abc import Callable

from course_utils.errors import CourseError


def playground(draw: Callable, **controls) -> None:
    """Show `draw(**values)`; in a running notebook with a control for each value, and drawn again when one changes.

    A control is given by what may be chosen, its default first or named:

        text="import numpy as"            a line of text
        ablate=False                      a box to tick
        head=range(12), kind=["Q", "K"]   a list; the first is the default
        layer=([0, 1], 1)                 a list and its default

    Where nobody watches, as while the site is built, it shows the defaults, and says how to get the controls. A
    CourseError of `draw` is shown as a sentence. Raises CourseError unless each argument of `draw` has a control.
    """
    wanted, given = list(inspect.signature(draw).parameters), list(controls)
    if not controls or sorted(wanted) != sorted(given):
        rule = f"{draw.__name__} takes {wanted}"
        raise CourseError(f"controls for {given}", rule, "give each argument one control, by its name")
    chosen = {name: _chosen(name, control) for name, control in controls.items()}
    defaults = {name: default for name, (_, default) in chosen.items()}
    if somebody_watches():
        _show_controls(draw, chosen)
    else:
        _say_how_to_run(defaults)
        draw(**defaults)


def somebody_watches() -> bool:
    """Whether this cell was sent by a program that could ask its user something, as JupyterLab can.

    One that runs notebooks without a user (nbclient, nbval, jupyter execute) says that it can't, and may stall at
    controls. A terminal draws none.
    """
    from IPython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and bool(kernel.get_parent().get("content", {}).get("allow_stdin"))


def _chosen(name: str, control) -> tuple[list | None, object]:
    """(what may be chosen, the default) of a control; no list for a text or a box."""
    if isinstance(control, str | bool):
        return None, control
    named = isinstance(control, tuple) and len(control) == 2 and isinstance(control[0], list | range)
    options = list(control[0] if named else control) if named or isinstance(control, list | range) else []
    default = control[1] if named else (options or [None])[0]
    if default not in options:
        rule = "a control is a text, True or False, a list or range, or (list, default)"
        raise CourseError(f"{name}={control!r}", rule, "see the docstring of playground")
    return options, default


def _say_how_to_run(defaults: dict) -> None:
    from IPython.display import HTML, display

    names = ", ".join(f"<em>{name.replace('_', ' ')}</em>" for name in defaults)
    display(
        HTML(
            f'<p class="course-playground">A still. In a running notebook (<code>make lab</code>) it has controls: '
            f'{names}. Without Python, <a href="induction_lab.html">the lab</a> takes your own text.</p>'
        )
    )


def _show_controls(draw: Callable, chosen: dict) -> None:
    import ipywidgets
    import matplotlib.pyplot as plt
    from IPython.display import display

    def make(name: str, options: list | None, default):
        label = {"description": name.replace("_", " "), "value": default}
        if options is not None:
            return ipywidgets.Dropdown(options=options, **label)
        if isinstance(default, bool):
            return ipywidgets.Checkbox(**label)
        layout = ipywidgets.Layout(width="95%")
        return ipywidgets.Text(continuous_update=False, layout=layout, **label)

    def draw_again(**values):
        try:
            draw(**values)
            plt.show()
        except CourseError as error:
            plt.close("all")
            print(error)

    widgets = {name: make(name, *control) for name, control in chosen.items()}
    picture = ipywidgets.interactive_output(draw_again, widgets)
    display(ipywidgets.VBox([*widgets.values(), picture]))
