#!/usr/bin/env bash
# Makes the book: docs/SUMMARY.md says which pages, target/book/index.html is where it begins.
set -euo pipefail

cd "$(dirname "$0")/.."
readonly pages=target/book-src book=target/book

rm -rf "$pages" "$book"
mkdir -p "$pages"
# What git knows or would take, as tests/tidy.rs does: pages, and what they link to.
git -c safe.directory='*' ls-files -z --cached --others --exclude-standard -- \
    '*.md' docs slurm packaging benchmarks tests/cases.tsv LICENSE |
    xargs -0 cp --parents -t "$pages"

# A book wants its summary above its pages, ours stands in docs/. Each run of the benchmarks is a page of its own.
while IFS= read -r line; do
    printf '%s\n' "$line"
    [[ $line == *'](benchmarks/README.md)'* ]] || continue
    for table in benchmarks/runs/*/*.md; do
        run=${table#benchmarks/runs/}
        printf '    - [%s](%s)\n' "${run%.md}" "$table"
    done
done < <(sed -E -e 's|\]\(|](docs/|' -e 's|\]\(docs/\.\./|](|' docs/SUMMARY.md) >"$pages/SUMMARY.md"
mdbook build docs
echo "the book: $book/index.html"
