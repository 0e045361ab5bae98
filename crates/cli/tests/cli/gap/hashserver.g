# The hash server among the examples of GAP's io package, as it is, on 127.0.0.1:$PORT; it gives out
# three tasks at a time. It says nothing when it listens. What it takes from the package orb, which
# Debian has not, is made of GAP's own dictionaries.
# Run: PORT=2525 gap -A -q --nointeract hashserver.g
LoadPackage("io");;
if LoadPackage("orb") = fail then
  BindGlobal("HTCreate", function(point, options) return NewDictionary(point, true); end);
  BindGlobal("HTValue", LookupDictionary);
  BindGlobal("HTAdd", AddDictionary);
fi;
Read(Filename(DirectoriesPackageLibrary("io", "example"), "hashserver.g"));
Print("ready\n");
HashServer(1, 1000, "127.0.0.1", Int(GAPInfo.SystemEnvironment.PORT), 3);
Print("ended\n");
QUIT_GAP(0);
