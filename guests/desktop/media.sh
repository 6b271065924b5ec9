#!/bin/bash
# Makes the desktop's film, music, wallpaper and photograph; the same at each run. Runs in the guest's folder.
#   media.sh FOLDER
set -euo pipefail
readonly FOLDER=$1
make_media() { ffmpeg -nostdin -v error -y -bitexact -fflags +bitexact "$@"; }

# Photo-like: a fractal's detail, soft light over it, and the grain of a sensor.
photo() {  # WIDTH HEIGHT ITERATION NAME
    make_media -f lavfi -i "mandelbrot=size=$1x$2:start_scale=0.$3:rate=1:maxiter=900" \
        -f lavfi -i "gradients=size=$1x$2:rate=1:seed=$3:n=5" \
        -filter_complex "[0][1]blend=all_mode=softlight:all_opacity=0.8,noise=alls=14:allf=u:all_seed=$3,format=yuvj444p" \
        -frames:v 1 -q:v 3 "$FOLDER/$4"
}

# A camera that moves over a large picture, with another one shining through, and grain: every pixel changes in each
# frame, as in a real film. MPEG-4 without B-frames is what an emulated processor decodes in time.
film() {
    local still="loop=loop=-1:size=1,setpts=N/24/TB,fps=24"
    make_media -i "$FOLDER/still1.jpg" -i "$FOLDER/still2.jpg" -filter_complex "\
[0]$still,crop=640:360:x='(iw-640)*(0.5+0.5*sin(t/5))':y='(ih-360)*(0.5+0.5*cos(t/7))'[a];\
[1]$still,crop=640:360:x='(iw-640)*(0.5+0.5*cos(t/6))':y='(ih-360)*(0.5+0.5*sin(t/4))'[b];\
[a][b]blend=all_mode=average,noise=alls=6:allf=t+u:all_seed=7,format=yuv420p" \
        -t 120 -r 24 -c:v mpeg4 -bf 0 -g 48 -q:v 6 -threads 1 -f avi "$FOLDER/film.avi"
}

# A melody of decaying notes over a bass, and a drum of noise: nothing repeats exactly.
music() {
    make_media -f lavfi -i "aevalsrc='0.25*sin(2*PI*t*220*pow(2,mod(floor(t*4)*7,12)/12))*exp(-3*mod(t,0.25))\
+0.2*sin(2*PI*t*330*pow(2,mod(floor(t*2)*5,12)/12))*exp(-2*mod(t,0.5))+0.2*sin(2*PI*t*55*pow(2,mod(floor(t)*3,7)/12))\
+0.1*(random(0)-0.5)*exp(-20*mod(t,0.5))|0.25*sin(2*PI*t*221*pow(2,mod(floor(t*4)*7,12)/12))*exp(-3*mod(t,0.25))\
+0.2*sin(2*PI*t*55*pow(2,mod(floor(t)*3,7)/12))+0.1*(random(1)-0.5)*exp(-20*mod(t,0.5))':s=44100:d=180" \
        -c:a libmp3lame -b:a 128k "$FOLDER/music.mp3"
}

photo 1280 800 31 wallpaper.jpg
photo 1600 1200 57 photo.jpg
photo 1920 1080 83 still1.jpg
photo 1920 1080 12 still2.jpg
film
music
rm "$FOLDER"/still*.jpg
