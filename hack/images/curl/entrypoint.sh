#!/bin/sh
# A program's name in front runs that program; all else are curl's arguments.
case $1 in
-*) ;;
*) if command -v "$1" >/dev/null; then exec "$@"; fi ;;
esac
exec curl "$@"
