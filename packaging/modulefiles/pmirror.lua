-- Lmod: put it below MODULEPATH as pmirror/VERSION.lua, and say where pmirror is installed.
local base = "/opt/pmirror/" .. myModuleVersion()

help([[
pmirror mirrors a file system with all ranks of a Slurm job.

    pmirror sync SRC DST
    srun -n 256 pmirror sync SRC DST

man pmirror has all commands; the batch scripts are in $PMIRROR_SLURM_DIR.
]])

whatis("Name: pmirror")
whatis("Version: " .. myModuleVersion())
whatis("Category: data transfer")
whatis("Description: mirror a file system with all ranks of a Slurm job")

conflict("pmirror")

-- The MPI library that it was built with, by its name at your site:
-- depends_on("openmpi")

prepend_path("PATH", pathJoin(base, "bin"))
-- man finds the page by PATH, and so does bash-completion 2.12 and newer what completes: MANPATH stays as it is.
setenv("PMIRROR_SLURM_DIR", pathJoin(base, "share/pmirror/slurm"))
