#!/usr/bin/env bash
# Downloads MNIST or Fashion-MNIST: four files each, checked by MD5. Safe to run again.
#
# usage: data/get_data.sh mnist|fashion-mnist|all [--out DIR] [--from DIR]
#   --out DIR    the data folder; gets DIR/mnist and DIR/fashion-mnist (the script's own folder)
#   --from DIR   copies the files from DIR/mnist and DIR/fashion-mnist, or, for one data set, from
#                DIR itself, in place of downloading them
#
# Then set PCXX_DATA_DIR=DIR. Exit code 2 and one sentence if a file cannot be had; a file is there
# whole and checked, or not at all.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
files=(train-images-idx3-ubyte train-labels-idx1-ubyte t10k-images-idx3-ubyte t10k-labels-idx1-ubyte)

declare -A md5=(
  [mnist/train-images-idx3-ubyte]=f68b3c2dcbeaaa9fbdd348bbdeb94873
  [mnist/train-labels-idx1-ubyte]=d53e105ee54ea40749a09fcbcd1e9432
  [mnist/t10k-images-idx3-ubyte]=9fb629c4189551a2d022fa330f9573f3
  [mnist/t10k-labels-idx1-ubyte]=ec29112dd5afa0611ce80d1b7f02629c
  [fashion-mnist/train-images-idx3-ubyte]=8d4fb7e6c68d591d4c3dfef9ec88bf0d
  [fashion-mnist/train-labels-idx1-ubyte]=25c81989df183df01b3e8a0aad5dffbe
  [fashion-mnist/t10k-images-idx3-ubyte]=bef4ecab320f06d8554ea6380940ec79
  [fashion-mnist/t10k-labels-idx1-ubyte]=bb300cfdad3c16e7a12a480ee83cd310
)
declare -A mirrors=(
  [mnist]="https://ossci-datasets.s3.amazonaws.com/mnist
    https://storage.googleapis.com/cvdf-datasets/mnist"
  [fashion-mnist]="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com
    https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion"
)

fail() {
  printf 'get_data.sh: %s\n' "$*" >&2
  exit 2
}

usage() { sed -n '2,/^$/{s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; }

sum_of() {
  if command -v md5sum >/dev/null; then md5sum < "$1"; else md5 -q "$1"; fi | cut -d ' ' -f 1
}

right() { [[ -f "$1" && "$(sum_of "$1")" == "$2" ]]; }

download() {
  local url=$1 file=$2
  if command -v curl >/dev/null; then
    curl --fail --silent --show-error --location --connect-timeout 8 --speed-limit 1000 \
      --speed-time 20 --output "$file" "$url"
  else
    wget --quiet --tries=1 --timeout=20 --connect-timeout=8 --dns-timeout=8 -O "$file" "$url"
  fi
}

# The file with this name and checksum into `$part`, from the first mirror that has it.
fetch() {
  local set=$1 name=$2 part=$3 mirror
  for mirror in ${mirrors[$set]}; do
    printf '%s/%s.gz from %s\n' "$set" "$name" "$mirror"
    if download "$mirror/$name.gz" "$part" 2>/dev/null; then
      if right "$part" "${md5[$set/$name]}"; then return 0; fi
      printf '  not the right file (its MD5 is %s)\n' "$(sum_of "$part")"
    fi
  done
  fail "$set/$name.gz could not be downloaded: put ${files[*]/%/.gz} into $out/$set, or copy them" \
    "with --from DIR"
}

copy() {
  local set=$1 name=$2 part=$3 source
  source="$from/$set/$name.gz"
  if [[ ! -e "$source" && "$what" != all ]]; then source="$from/$name.gz"; fi
  [[ -f "$source" ]] || fail "'$from' has no $set/$name.gz"
  printf '%s/%s.gz from %s\n' "$set" "$name" "$source"
  cat "$source" > "$part" || fail "'$source' cannot be copied to '$part'"
  right "$part" "${md5[$set/$name]}" \
    || fail "'$source' is damaged or another file: its MD5 is $(sum_of "$part"), not ${md5[$set/$name]}"
}

get_set() {
  local set=$1 name
  mkdir -p "$out/$set" 2>/dev/null || fail "the folder '$out/$set' cannot be made"
  [[ -w "$out/$set" ]] || fail "the folder '$out/$set' cannot be written"
  for name in "${files[@]}"; do
    local target="$out/$set/$name.gz"
    if right "$target" "${md5[$set/$name]}"; then
      printf '%s/%s.gz is there\n' "$set" "$name"
      continue
    fi
    part="$target.part.$$" # removed on exit unless it got its name
    if [[ -n "$from" ]]; then copy "$set" "$name" "$part"; else fetch "$set" "$name" "$part"; fi
    mv -f "$part" "$target"
  done
}

what="" out=$here from="" part=""
while (($#)); do
  case "$1" in
    -h | --help) usage; exit 0 ;;
    --out | --from)
      [[ -n "${2:-}" ]] || fail "$1 needs a folder"
      if [[ $1 == --out ]]; then out=$2; else from=$2; fi
      shift ;;
    mnist | fashion-mnist | all)
      [[ -z "$what" ]] || fail "one data set at a time, or all: '$what' and '$1' were given"
      what=$1 ;;
    *) fail "'$1' is neither an option nor a data set (mnist, fashion-mnist, all)" ;;
  esac
  shift
done
[[ -n "$what" ]] || fail "which data set? (mnist, fashion-mnist, all)"
[[ -z "$from" || -d "$from" ]] || fail "'$from' is not a folder"
if [[ -z "$from" ]] && ! command -v curl >/dev/null && ! command -v wget >/dev/null; then
  fail "downloading needs curl or wget: install one, or copy the files with --from DIR"
fi

trap 'if [[ -n "$part" ]]; then rm -f "$part"; fi' EXIT
trap 'exit 130' INT TERM
case "$what" in
  all) get_set mnist; get_set fashion-mnist ;;
  *) get_set "$what" ;;
esac
printf 'done: PCXX_DATA_DIR=%s\n' "$(cd "$out" && pwd)"
