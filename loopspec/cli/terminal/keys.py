"""Keys: which key does what."""

from typing import Any, Protocol

from prompt_toolkit.filters import Condition, is_searching
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys

from loopspec.cli.terminal.asker import Asker
from loopspec.cli.terminal.screen import ANSWER, CHOICE, LINE, Screen


class Hands(Protocol):
    """What keys call."""

    def submit(self, text: str) -> None:
        """A line was sent."""

    def escape(self) -> None:
        """Esc."""

    def end_of_input(self) -> None:
        """Ctrl-D where nothing is typed."""

    def stop(self) -> None:
        """Ctrl-Z."""

    def show_output(self) -> None:
        """Ctrl-O."""

    def up(self) -> None:
        """Up in an empty line."""

    def complete(self) -> None:
        """Tab."""


def bind(screen: Screen, asker: Asker, hands: Hands) -> None:
    """Bind every key of the screen."""
    keys = screen.keys
    editing = Condition(lambda: screen.mode in (LINE, ANSWER)) & ~is_searching
    typing = Condition(lambda: screen.mode == LINE) & ~is_searching
    choosing = Condition(lambda: screen.mode == CHOICE)
    _editing_keys(keys, screen, asker, hands, editing, typing)

    @keys.add(Keys.Any, filter=choosing)
    @keys.add("enter", filter=choosing)
    def _(event: KeyPressEvent) -> None:
        data = event.key_sequence[0].data
        asker.press("\n" if data == "\r" else data)

    @keys.add(Keys.BracketedPaste, filter=choosing)
    def _(event: KeyPressEvent) -> None:
        screen.line.insert_text(event.data.replace("\r\n", "\n").replace("\r", "\n"))

    @keys.add("escape", filter=~is_searching)
    def _(event: KeyPressEvent) -> None:
        hands.escape()

    @keys.add("c-o")
    def _(event: KeyPressEvent) -> None:
        hands.show_output()

    @keys.add("c-z")
    def _(event: KeyPressEvent) -> None:
        hands.stop()

    @keys.add("c-d", filter=choosing)
    def _(event: KeyPressEvent) -> None:
        hands.end_of_input()


def _editing_keys(
    keys: KeyBindings, screen: Screen, asker: Asker, hands: Hands, editing: Any, typing: Any
) -> None:
    """The keys of the input line and of an answer."""
    empty = Condition(lambda: not screen.app.current_buffer.text)

    @keys.add("enter", filter=editing)
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        text = buffer.text
        if screen.mode == ANSWER:
            asker.enter(text)
            screen.dirty()
            return
        buffer.reset(append_to_history=bool(text.strip()))
        asker.aside = False
        hands.submit(text)

    @keys.add("c-j", filter=editing)
    @keys.add("escape", "enter", filter=editing)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("up", filter=typing & empty)
    def _(event: KeyPressEvent) -> None:
        hands.up()

    @keys.add("tab", filter=typing)
    def _(event: KeyPressEvent) -> None:
        hands.complete()

    @keys.add("c-d", filter=editing & empty)
    def _(event: KeyPressEvent) -> None:
        hands.end_of_input()
