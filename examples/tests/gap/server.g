# The original hash server of GAP's package io, on 127.0.0.1:$PORT, CHUNK points to a task.
# With FIXED set, its one mistake is mended: it takes a task's points off a copy of its list
# and not off the list, so that no point is ever done with.
LoadPackage("io");;
port := Int(GAPInfo.SystemEnvironment.PORT);;
chunk := Int(GAPInfo.SystemEnvironment.CHUNK);;
# The package orb, of which it needs a hash table, is not everywhere: a set does.
HTCreate := function(point, options) return rec(points := []); end;;
HTValue := function(table, point)
  if point in table.points then return true; else return fail; fi;
end;;
HTAdd := function(table, point, value) AddSet(table.points, point); end;;
text := StringFile(Filename(DirectoriesPackageLibrary("io", "example"), "hashserver.g"));;
text := ReplacedString(text, "LoadPackage(\"orb\");", "");;
if IsBound(GAPInfo.SystemEnvironment.FIXED) then
  text := ReplacedString(text, "Unbind(l[i])", "Unbind(todo[i])");;
fi;
Read(InputTextString(text));
Print("serving\n");
HashServer([1], 1000, "127.0.0.1", port, chunk);
Print("stopped\n");
QUIT_GAP(0);
