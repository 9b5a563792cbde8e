"""What pages show, as data: built once from boards, written as Markdown, LaTeX, HTML and on the terminal."""
