# Turns docs/cli.md into the manual page ounce(1): headings, paragraphs, lists, tables, indented examples.
function inline(text) {
  gsub(/\\/, "\\e", text)
  while (match(text, /`[^`]*`/)) {
    text = substr(text, 1, RSTART - 1) "\\fB" substr(text, RSTART + 1, RLENGTH - 2) "\\fR" \
           substr(text, RSTART + RLENGTH)
  }
  gsub(/-/, "\\-", text)
  if (text ~ /^[.']/) text = "\\&" text
  return text
}
function end_example() { if (example) print ".fi\n.RE"; example = 0 }
BEGIN { print ".TH OUNCE 1\n.SH NAME\nounce \\- make neural networks small and run them fast" }
/^# / { print ".SH SYNOPSIS"; next }
/^## / { end_example(); print ".SH \"" toupper(substr($0, 4)) "\""; next }
/^    / {
  if (!example) print ".PP\n.RS\n.nf"
  example = 1
  print inline(substr($0, 5))
  next
}
/^\| (command|---)/ { next }
/^\|/ { split($0, cell, /\| */); print ".TP\n" inline(cell[2]) "\n" inline(cell[3]); next }
/^- / { end_example(); print ".IP \\(bu 2\n" inline(substr($0, 3)); next }
/^ *$/ { end_example(); print ".PP"; next }
{ end_example(); print inline($0) }
END { end_example() }
