#%Module1.0
# Environment Modules, or Lmod: put it below MODULEPATH as pmirror/VERSION, and say where pmirror is installed.
set version [file tail [module-info name]]
set base /opt/pmirror/$version

proc ModulesHelp {} {
    puts stderr "pmirror mirrors a file system with all ranks of a Slurm job."
    puts stderr ""
    puts stderr "    pmirror sync SRC DST"
    puts stderr "    srun -n 256 pmirror sync SRC DST"
    puts stderr ""
    puts stderr "man pmirror has all commands; the batch scripts are in \$PMIRROR_SLURM_DIR."
}

module-whatis "pmirror $version: mirror a file system with all ranks of a Slurm job"

conflict pmirror

# The MPI library that it was built with, by its name at your site:
# prereq openmpi

prepend-path PATH $base/bin
# man finds the page by PATH, and so does bash-completion 2.12 and newer what completes: MANPATH stays as it is.
setenv PMIRROR_SLURM_DIR $base/share/pmirror/slurm
