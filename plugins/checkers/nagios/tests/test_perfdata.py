"""Performance data: printed and read they are the same; whatever a plugin prints, reading it ends."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from safekit_checker_nagios.perfdata import Metric, read_metrics, read_output

NUMBERS = st.integers(-999, 10**12).map(str) | st.floats(-1e6, 1e6).map(repr)
BOUNDS = st.just("") | NUMBERS | st.sampled_from(("~:5", "@1:2", "-3:"))
UNITS = st.sampled_from(("", "s", "us", "ms", "%", "B", "KB", "MB", "TB", "c"))
LABELS = st.text(st.sampled_from("aé/:\\'=;|0%- "), min_size=1, max_size=8)
METRICS = st.builds(Metric, LABELS, NUMBERS, UNITS, BOUNDS, BOUNDS, BOUNDS, BOUNDS)


@settings(max_examples=60, deadline=None)
@given(st.lists(METRICS, max_size=5))
def test_what_is_printed_is_read_again(metrics: list[Metric]) -> None:
    assert read_metrics(" ".join(map(str, metrics))) == metrics


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("a'=;|0.5U \n%~:@-é\0")))
def test_anything_that_is_printed_can_be_read(printed: str) -> None:
    output = read_output(printed)
    assert "\n" not in output.text
    assert len(read_metrics(output.perfdata)) <= len(printed)


def test_the_examples_of_the_guidelines_and_of_real_plugins() -> None:
    printed = "load1=7.92;100.0;200.0;0; '/var log'=24432869376B;~:5;@1:2;0;9 pl=0%;20;50;0; x=U it''s=1 e=1.5e-05s"
    assert read_metrics(printed) == [
        Metric("load1", "7.92", "", "100.0", "200.0", "0"),
        Metric("/var log", "24432869376", "B", "~:5", "@1:2", "0", "9"),
        Metric("pl", "0", "%", "20", "50", "0"),
        Metric("x", "U"),
        Metric("it''s", "1"),
        Metric("e", "1.5e-05", "s"),
    ]


def test_what_is_not_of_the_form_is_passed_by() -> None:
    assert read_metrics("rubbish a=1 b=1,5 c= =3 'd=4 e=5;;;;;6 f=7") == [Metric("a", "1"), Metric("f", "7")]


def test_text_of_several_lines_is_split_as_nagios_3_does() -> None:
    output = read_output("DISK WARNING | /=80%\n/ is full\n/home is well | /home=20%\n/var=3%\n")
    assert (output.text, output.perfdata) == ("DISK WARNING", "/=80% /home=20% /var=3%")
    assert read_output("only text\nand more\n").perfdata == ""
