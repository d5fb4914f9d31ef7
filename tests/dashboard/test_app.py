"""The dashboard's entry: it runs the chosen page and shows a user's error as one line."""

from lab import LabError


def test_a_users_error_is_a_line_on_the_page(app, add_run, monkeypatch):
    def fails(*_):
        raise LabError("<b>no</b> such thing")

    add_run()
    app.run()
    monkeypatch.setattr("lab.results.tables.leaderboard", fails)
    assert app.run().error[0].value.replace("\\", "") == "<b>no</b> such thing" and not app.exception
